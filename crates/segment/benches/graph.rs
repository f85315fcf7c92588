//! Graphs on the same vectors: CPU time to build, memory, and recall against the speed of the walk, for our builder,
//! for `hnsw_rs`, and for hnswlib where it is installed.
//!
//! `cargo bench --workspace --bench graph`. The vectors resemble embeddings of sentences: 384 dimensions, unit length,
//! a mixture of Gaussians with a local intrinsic dimension of about 25. `RINGFENCE_GRAPH_ROWS` (20,000 by default) is
//! their number; `RINGFENCE_GRAPH_VECTORS` is a folder with `base.f32` and `query.f32` to use instead.
//! `RINGFENCE_GRAPH_PYTHON` names a Python that has hnswlib, which then runs on the same vectors;
//! `RINGFENCE_GRAPH_REFERENCE=no` leaves out `hnsw_rs`, which takes minutes on many rows. Everything runs on one
//! thread.
//!
//! Then our graph under filters: rows that pass at random, those of the query's own topic (nearest to it), and those of
//! another topic. It prints what the planner chose, next to a scan and a walk at the default breadth of the same rows.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a benchmark's output is its table, and a fault ends it")]

use kernel::{
    Clock, CommitNo, Distance, Document, DocumentId, Passage, Span, Status, SystemClock, Timestamp, Untrusted,
};
use roaring::RoaringBitmap;
use segment::{GraphMode, Segment, Spec};
use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};
use testkit::Rng;

const DIMENSIONS: usize = 384;
const QUERIES: usize = 1_000;
const K: usize = 10;
const EFS: [usize; 14] = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1_024];

type VectorSet = Vec<Vec<f32>>;

/// Measured points: a breadth, its recall and its queries per CPU second.
type Curve = Vec<(usize, f64, f64)>;

/// Costs and results of one kind of graph.
struct Measured {
    name: &'static str,
    build: f64,
    bytes: f64,
    curve: Curve,
}

fn main() {
    let rows = std::env::var("RINGFENCE_GRAPH_ROWS").map_or(20_000, |n| n.parse().unwrap());
    let (base, queries) = match std::env::var("RINGFENCE_GRAPH_VECTORS") {
        Ok(folder) => (read(&format!("{folder}/base.f32"), rows), read(&format!("{folder}/query.f32"), QUERIES)),
        Err(_) => mixture(rows, QUERIES),
    };
    println!("{} vectors of {DIMENSIONS} dimensions, {} queries, one thread", base.len(), queries.len());
    println!("| graph | ef | recall@{K} | queries a CPU second |\n|---|---|---|---|");
    let (plain, scan) = written(&base, GraphMode::Deferred);
    let (rows, began) = (all_rows(&scan), cpu());
    let truth: Vec<Vec<u32>> = queries.iter().map(|q| found(&scan, &rows, q, None)).collect();
    println!("| none: exact scan | | 1 | {:.0} |", queries.len() as f64 / (cpu() - began));
    drop(scan);
    let reference = std::env::var("RINGFENCE_GRAPH_REFERENCE").is_ok_and(|no| no == "no");
    let kinds = [("ours", GraphMode::Built), ("hnsw_rs", GraphMode::Reference)];
    let mut all: Vec<Measured> = Vec::new();
    let clock = SystemClock::new();
    segment::calibrate(|| clock.monotonic());
    for (name, links) in kinds.into_iter().take(if reference { 1 } else { 2 }) {
        let (cost, segment) = written(&base, links);
        let bytes = segment.bytes() as f64;
        let curve = EFS.iter().map(|ef| measured(name, *ef, &segment, &queries, &truth)).collect();
        all.push(Measured { name, build: cost - plain, bytes, curve });
        if links == GraphMode::Built {
            filtered(&segment, &base, &queries);
        }
    }
    if let Ok(python) = std::env::var("RINGFENCE_GRAPH_PYTHON") {
        all.push(hnswlib(&python, &base, &queries, &truth));
    }
    for one in &all {
        println!("{}: {:.1} s of CPU for the graph, {:.1} MB with the vectors", one.name, one.build, one.bytes / 1e6);
    }
    for pair in all.iter().skip(1).map(|other| (&all[0], other)) {
        let (ours, other) = pair;
        let rate = |recall: f64| rate_at(&ours.curve, recall) / rate_at(&other.curve, recall);
        println!(
            "ours / {}: queries a CPU second {:.2} at 0.95, {:.2} at 0.98, {:.2} at 0.99; CPU of building {:.2}; memory {:.2}",
            other.name,
            rate(0.95),
            rate(0.98),
            rate(0.99),
            ours.build / other.build,
            ours.bytes / other.bytes,
        );
    }
}

/// The vectors as a segment, opened as the product opens a large one, and the CPU seconds that writing it took.
fn written(base: &VectorSet, links: GraphMode) -> (f64, Segment) {
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let spec = Spec::new(DIMENSIONS, Distance::Cosine);
    let began = cpu();
    let bytes = one.install(|| Segment::write(&spec, &mut documents(base), links)).unwrap();
    let took = cpu() - began;
    let (whole, paged_part) = bytes.split_at(Segment::split(&bytes).unwrap());
    (took, Segment::open_sealed(&spec, whole.into(), Arc::new(paged_part.to_vec()), 0).unwrap())
}

fn measured(name: &str, ef: usize, segment: &Segment, queries: &VectorSet, truth: &[Vec<u32>]) -> (usize, f64, f64) {
    let (mut rates, mut right, rows) = (Vec::new(), 0, all_rows(segment));
    for _ in 0..3 {
        let began = cpu();
        let answers: Vec<Vec<u32>> = queries.iter().map(|q| found(segment, &rows, q, Some(ef))).collect();
        rates.push(queries.len() as f64 / (cpu() - began));
        right = answers.iter().zip(truth).map(|(a, t)| a.iter().filter(|row| t.contains(row)).count()).sum();
    }
    rates.sort_by(f64::total_cmp);
    let recall = right as f64 / (queries.len() * K) as f64;
    println!("| {name} | {ef} | {recall:.4} | {:.0} |", rates[1]);
    (ef, recall, rates[1])
}

/// The rate at a recall, interpolated between the measured breadths.
fn rate_at(curve: &Curve, recall: f64) -> f64 {
    let at = curve.iter().position(|(_, r, _)| *r >= recall).unwrap_or(curve.len() - 1);
    let ((_, r1, q1), (_, r0, q0)) = (curve[at], curve[at.saturating_sub(1)]);
    if at == 0 || r1 <= r0 { q1 } else { (q0.ln() + (q1 / q0).ln() * (recall - r0) / (r1 - r0)).exp() }
}

fn hnswlib(python: &str, base: &VectorSet, queries: &VectorSet, truth: &[Vec<u32>]) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &mut dyn Iterator<Item = [u8; 4]>| {
        let mut file = std::io::BufWriter::new(std::fs::File::create(folder.path().join(name)).unwrap());
        bytes.for_each(|four| file.write_all(&four).unwrap());
        file.flush().unwrap();
    };
    put("base.f32", &mut base.iter().flatten().map(|x| x.to_le_bytes()));
    put("query.f32", &mut queries.iter().flatten().map(|x| x.to_le_bytes()));
    put("truth.u32", &mut truth.iter().flatten().map(|x| x.to_le_bytes()));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../benches/peers/hnswlib_graph.py");
    let sizes = [base.len(), DIMENSIONS, K].map(|n| n.to_string());
    let mut child =
        Command::new(python).arg(script).arg(folder.path()).args(sizes).stdout(Stdio::piped()).spawn().unwrap();
    let mut one = Measured { name: "hnswlib", build: 0.0, bytes: 0.0, curve: Vec::new() };
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        let number = |key: &str| line[key].as_f64();
        if let (Some(build), Some(bytes)) = (number("build"), number("resident")) {
            (one.build, one.bytes) = (build, bytes);
        } else if let (Some(ef), Some(recall), Some(rate)) = (number("ef"), number("recall"), number("rate")) {
            println!("| hnswlib | {ef} | {recall:.4} | {rate:.0} |");
            one.curve.push((ef as usize, recall, rate));
        }
    }
    assert!(child.wait().unwrap().success(), "hnswlib did not end well");
    one
}

/// Shares of the rows that pass.
const RATES: [f64; 5] = [0.5, 0.1, 0.03, 0.01, 0.001];
const FILTERED_QUERIES: usize = 200;
const WALKED_RATE_MIN: f64 = 0.03;

fn filtered(segment: &Segment, base: &VectorSet, queries: &VectorSet) {
    println!(
        "| rows that pass | rate | recall@{K} | ways | queries a CPU second | scan | walk, its recall | of the better |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let queries = &queries[..FILTERED_QUERIES.min(queries.len())];
    let random = Rng::new(9);
    let orders: Vec<Vec<u32>> = queries.iter().map(|query| nearest(base, query)).collect();
    for kind in ["by chance", "its topic", "another topic"] {
        for rate in RATES {
            let count = ((base.len() as f64 * rate) as usize).max(K);
            let pass = |n: usize| -> RoaringBitmap {
                match kind {
                    "by chance" => (0..base.len() as u32)
                        .filter(|_| random.below(1 << 20) < (rate * f64::from(1 << 20)) as u64)
                        .collect(),
                    "its topic" => orders[n][..count].iter().copied().collect(),
                    _ => orders[(n + 1) % orders.len()][..count].iter().copied().collect(),
                }
            };
            let passing: Vec<RoaringBitmap> = (0..queries.len()).map(pass).collect();
            let run = |way: Option<Option<usize>>| {
                let began = cpu();
                let one = |(query, rows): (&Vec<f32>, &RoaringBitmap)| match way {
                    None => segment.search_vector(query, rows, K),
                    Some(way) => segment.search_planned(query, rows, K, way),
                };
                let found: Vec<_> = queries.iter().zip(&passing).map(one).collect();
                (queries.len() as f64 / (cpu() - began), found)
            };
            let median = |way| {
                let mut runs = [run(way), run(way), run(way)];
                runs.sort_by(|a, b| a.0.total_cmp(&b.0));
                let [_, middle, _] = runs;
                middle
            };
            let (ours, scan) = (median(None), median(Some(None)));
            // A walk takes a tenth of a second and more when few rows pass, and is no alternative.
            let walk = if rate >= WALKED_RATE_MIN { median(Some(Some(128))) } else { (0.0, Vec::new()) };
            let recall = |found: &[segment::VectorSearchResult]| {
                let rows = |found: &segment::VectorSearchResult| {
                    found.hits.iter().map(|hit| hit.row).collect::<RoaringBitmap>()
                };
                let right = found.iter().zip(&scan.1).map(|(a, b)| rows(a).intersection_len(&rows(b))).sum::<u64>();
                if found.is_empty() {
                    return 0.0;
                }
                right as f64 / scan.1.iter().map(|found| found.hits.len()).sum::<usize>() as f64
            };
            let count = |way: &str| ours.1.iter().filter(|found| found.stats.strategy.as_str() == way).count();
            let walked = recall(&walk.1);
            let better = if walked >= 0.98 { scan.0.max(walk.0) } else { scan.0 };
            println!(
                "| {kind} | {rate} | {:.4} | {} scan, {} walk, {} both | {:.0} | {:.0} | {:.0}, {walked:.4} | {:.2} |",
                recall(&ours.1),
                count("scan"),
                count("walk"),
                count("walk_then_scan"),
                ours.0,
                scan.0,
                walk.0,
                ours.0 / better,
            );
        }
    }
}

/// All rows, nearest first.
fn nearest(base: &VectorSet, query: &[f32]) -> Vec<u32> {
    let product = |row: &Vec<f32>| row.iter().zip(query).map(|(a, b)| a * b).sum::<f32>();
    let mut order: Vec<(f32, u32)> = base.iter().map(product).zip(0..).collect();
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    order.into_iter().map(|(_, row)| row).collect()
}

fn all_rows(segment: &Segment) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..segment.rows());
    all
}

fn found(segment: &Segment, rows: &RoaringBitmap, query: &[f32], walk: Option<usize>) -> Vec<u32> {
    segment.search_planned(query, rows, K, walk).hits.into_iter().map(|hit| hit.row).collect()
}

/// One document per vector.
fn documents(base: &VectorSet) -> impl Iterator<Item = Document> + '_ {
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

fn read(path: &str, rows: usize) -> VectorSet {
    let bytes = std::fs::read(path).unwrap();
    let row = |row: &[u8]| row.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    bytes.chunks_exact(DIMENSIONS * 4).take(rows).map(row).collect()
}

/// About normally distributed, with variance 1.
fn normal(random: &Rng) -> f32 {
    (0..3).map(|_| random.signed()).sum()
}

/// 2,000 centres in a shared space of 64 dimensions, each with 24 directions of its own, and a little noise.
fn mixture(rows: usize, queries: usize) -> (VectorSet, VectorSet) {
    let random = Rng::new(7);
    let shared: VectorSet = (0..64).map(|_| (0..DIMENSIONS).map(|_| normal(&random)).collect()).collect();
    let mix = |fade: f32| {
        let mut sum = vec![0.0f32; DIMENSIONS];
        for (n, axis) in shared.iter().enumerate() {
            let by = normal(&random) * ((n + 1) as f32).powf(-fade);
            sum.iter_mut().zip(axis).for_each(|(s, x)| *s += by * x);
        }
        unit(sum)
    };
    let clusters: Vec<(Vec<f32>, VectorSet)> =
        (0..2_000).map(|_| (mix(0.4), (0..24).map(|_| mix(0.0)).collect())).collect();
    let mut points: VectorSet = (0..rows + queries)
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

/// CPU seconds of this process's threads.
fn cpu() -> f64 {
    // The system counts CPU time when a thread leaves its core.
    std::thread::yield_now();
    let nanos = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        text.split(' ').next().and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    std::fs::read_dir("/proc/self/task").unwrap().flatten().map(nanos).sum::<f64>() / 1e9
}
