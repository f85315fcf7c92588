//! Both builders of graphs on the same vectors: CPU to build, and recall against speed of the walk.
//!
//! `cargo bench --workspace --bench graph`. The vectors look like embeddings of sentences: 384 dimensions, unit length, a
//! mixture of Gaussians with a local intrinsic dimension about 25. `RINGFENCE_GRAPH_ROWS` (20,000 by default) says how
//! many, `RINGFENCE_GRAPH_VECTORS` a folder with `base.f32` and `query.f32` to take instead. Everything runs on one thread.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use kernel::{CommitNo, Distance, Document, DocumentId, Passage, Span, Status, Timestamp, Untrusted};
use roaring::RoaringBitmap;
use segment::{Links, Segment, Spec};
use testkit::Rng;

const DIMENSIONS: usize = 384;
const QUERIES: usize = 500;
const K: usize = 10;
const EFS: [usize; 7] = [16, 32, 64, 128, 256, 512, 1_024];

type Vectors = Vec<Vec<f32>>;

fn main() {
    let rows = std::env::var("RINGFENCE_GRAPH_ROWS").map_or(20_000, |n| n.parse().unwrap());
    let (base, queries) = match std::env::var("RINGFENCE_GRAPH_VECTORS") {
        Ok(folder) => (read(&format!("{folder}/base.f32"), rows), read(&format!("{folder}/query.f32"), QUERIES)),
        Err(_) => mixture(rows, QUERIES),
    };
    let all: RoaringBitmap = (0..base.len() as u32).collect();
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    println!("{} vectors of {DIMENSIONS} dimensions, {} queries, one thread", base.len(), queries.len());
    let mut truth: Vec<Vec<u32>> = Vec::new();
    let mut costs = Vec::new();
    for (name, links) in [("scan", Links::Later), ("ours", Links::Built), ("hnsw_rs", Links::Reference)] {
        let began = cpu();
        let spec = Spec { dimensions: DIMENSIONS, distance: Distance::Cosine };
        let bytes = one.install(|| Segment::write(&spec, &mut documents(&base), links)).unwrap();
        let built = cpu() - began;
        let segment = Segment::open(&spec, bytes).unwrap();
        costs.push(built);
        println!("{name}: written in {built:.1} s of CPU, {:.1} of it for the graph", built - costs[0]);
        if links == Links::Later {
            truth = queries.iter().map(|q| found(&segment, q, &all, None)).collect();
            row("scan", 0, &segment, &queries, &all, &truth);
            continue;
        }
        for ef in EFS {
            row(name, ef, &segment, &queries, &all, &truth);
        }
    }
    println!("graph by hnsw_rs / ours: {:.1} times the CPU", (costs[2] - costs[0]) / (costs[1] - costs[0]));
}

fn row(name: &str, ef: usize, segment: &Segment, queries: &Vectors, all: &RoaringBitmap, truth: &[Vec<u32>]) {
    let walk = (ef > 0).then_some(ef);
    let mut rates = Vec::new();
    let mut right = 0;
    for _ in 0..3 {
        let began = cpu();
        let answers: Vec<Vec<u32>> = queries.iter().map(|q| found(segment, q, all, walk)).collect();
        rates.push(queries.len() as f64 / (cpu() - began));
        right = answers.iter().zip(truth).map(|(a, t)| a.iter().filter(|row| t.contains(row)).count()).sum();
    }
    rates.sort_by(f64::total_cmp);
    let recall = right as f64 / (queries.len() * K) as f64;
    println!("| {name} | ef {ef} | recall@10 {recall:.4} | {:.0} queries a CPU second |", rates[1]);
}

fn found(segment: &Segment, query: &[f32], all: &RoaringBitmap, walk: Option<usize>) -> Vec<u32> {
    segment.search_planned(query, all, K, walk).unwrap().into_iter().map(|hit| hit.row).collect()
}

/// One document a vector.
fn documents(base: &Vectors) -> impl Iterator<Item = Document> + '_ {
    base.iter().enumerate().map(|(n, vector)| Document {
        id: DocumentId::parse(&format!("d{n:08}")).unwrap(),
        title: Untrusted::default(),
        uri: Untrusted::default(),
        text: Untrusted::default(),
        attributes: kernel::Attributes::new(),
        readers: None,
        passages: vec![Passage { span: Span { byte_start: 0, byte_end: 0, point_start: 0, point_end: 0 }, tokens: 0 }],
        vectors: vector.clone(),
        status: Status::Indexed,
        findings: Vec::new(),
        content_hash: [0; 32],
        created_at: Timestamp::from_millis(0),
        updated_at: Timestamp::from_millis(0),
        expires_at: None,
        commit: CommitNo(1),
    })
}

fn read(path: &str, rows: usize) -> Vectors {
    let bytes = std::fs::read(path).unwrap();
    let row = |row: &[u8]| row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    bytes.chunks_exact(DIMENSIONS * 4).take(rows).map(row).collect()
}

/// Nearly normal, with variance 1.
fn normal(random: &Rng) -> f32 {
    (0..3).map(|_| random.signed()).sum()
}

/// 2,000 centres in a shared space of 64 dimensions, each with 24 directions of its own, and a little noise.
fn mixture(rows: usize, queries: usize) -> (Vectors, Vectors) {
    let random = Rng::new(7);
    let shared: Vectors = (0..64).map(|_| (0..DIMENSIONS).map(|_| normal(&random)).collect()).collect();
    let mix = |fade: f32| {
        let mut sum = vec![0.0f32; DIMENSIONS];
        for (n, axis) in shared.iter().enumerate() {
            let by = normal(&random) * ((n + 1) as f32).powf(-fade);
            sum.iter_mut().zip(axis).for_each(|(s, x)| *s += by * x);
        }
        unit(sum)
    };
    let clusters: Vec<(Vec<f32>, Vectors)> =
        (0..2_000).map(|_| (mix(0.4), (0..24).map(|_| mix(0.0)).collect())).collect();
    let mut points: Vectors = (0..rows + queries)
        .map(|_| {
            let (centre, axes) = &clusters[random.below(2_000) as usize];
            let mut point = centre.clone();
            for (n, axis) in axes.iter().enumerate() {
                let by = 1.2 * 0.28 * normal(&random) * ((n + 1) as f32).powf(-0.3);
                point.iter_mut().zip(axis).for_each(|(p, x)| *p += by * x);
            }
            point.iter_mut().for_each(|p| *p += 0.3 / (DIMENSIONS as f32).sqrt() * normal(&random));
            unit(point)
        })
        .collect();
    let queries = points.split_off(rows);
    (points, queries)
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|x| *x /= length);
    vector
}

/// Seconds of CPU that the threads of this process took.
fn cpu() -> f64 {
    let nanos = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(nanos).sum::<f64>() / 1e9
}
