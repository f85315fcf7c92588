//! The real runtime and the default model: the quality of vectors, and that a vector depends on its own text alone.
//!
//! These tests need the files of `scripts/setup`. Without them they print that and pass, except in CI, where they fail.
#![expect(clippy::print_stdout, reason = "a test that checked nothing says so")]

use kernel::Untrusted;
use models::{EmbedJob, Error, Models, ModelsConfig, Provider, Reranks, TaskKind, TenantQueueId, discover};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::channel},
};

const INT8: &str = "all-MiniLM-L6-v2";
const FP32: &str = "all-MiniLM-L6-v2-fp32";

fn config() -> Option<ModelsConfig> {
    let named = |name| env::var_os(name).map(PathBuf::from);
    let (runtime, folder) = (named("RINGFENCE_ONNXRUNTIME"), named("RINGFENCE_MODELS"));
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let found = discover(runtime.as_deref(), folder.as_deref(), &[here]);
    if found.runtime.is_none() || found.folder.is_none() {
        assert!(env::var_os("CI").is_none(), "no runtime or no models: run scripts/setup");
        println!("not checked: no runtime or no models; run scripts/setup");
        return None;
    }
    Some(ModelsConfig { runtime: found.runtime, folder: found.folder, threads: 2, ..ModelsConfig::default() })
}

fn load() -> Option<Models> {
    config().map(|config| Models::load(&config).expect("what scripts/setup made loads"))
}

fn embed(models: &Models, model: &str, texts: &[&str]) -> Vec<Vec<f32>> {
    let floats = run(models, model, None, texts);
    floats.chunks(models.embedder(model).expect("it serves").dimensions).map(<[f32]>::to_vec).collect()
}

fn run(models: &Models, model: &str, question: Option<&str>, texts: &[&str]) -> Vec<f32> {
    let (send, reply) = channel();
    let job = EmbedJob {
        model: model.to_owned(),
        queue: TenantQueueId([1; 16]),
        kind: TaskKind::Query,
        texts: texts.iter().map(|t| Untrusted::new(*t)).collect(),
        question: question.map(Untrusted::new),
        cancelled: Arc::default(),
        done: Box::new(move |result| drop(send.send(result))),
    };
    models.submit(job).expect("the queue has capacity");
    reply.recv().expect("an answer").expect("vectors")
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

const TEXTS: [&str; 8] = [
    "How do I rotate encryption keys?",
    "Keys are rotated by the operator every ninety days.",
    "A man is eating food.",
    "A man is eating a piece of bread.",
    "Pasta with tomato sauce and basil",
    "Ein Vertrag über die Lieferung von Bauteilen, §12 Kündigung: sechs Wochen zum Quartalsende, schriftlich.",
    "x",
    "The patient was given 20 mg twice a day; after a week the fever was gone, and the dose was halved. A month later \
     she came back for a check, and no trace of the infection could be found in the blood.",
];

#[test]
fn the_serving_models_are_reported() {
    let (Some(models), Some(config)) = (load(), config()) else { return };
    let info = models.default_model().expect("a default model");
    assert_eq!((info.name.as_str(), info.dimensions, info.max_tokens, info.provider), (INT8, 384, 256, "cpu"));
    let sums = fs::read_to_string(config.folder.unwrap().join(INT8).join("SHA256SUMS")).unwrap();
    assert!(sums.contains(&format!("{}  model.onnx", info.sha256)), "{}", info.sha256);
    assert!(models.embedder(FP32).is_some_and(|m| m.dimensions == 384));
}

#[test]
fn related_texts_are_near_and_others_are_not() {
    let Some(models) = load() else { return };
    for model in [INT8, FP32] {
        let v = embed(&models, model, &TEXTS);
        assert!(cosine(&v[0], &v[1]) > 0.5, "{model}: {}", cosine(&v[0], &v[1]));
        assert!(cosine(&v[2], &v[3]) > 0.7, "{model}: {}", cosine(&v[2], &v[3]));
        for (a, b) in [(0, 2), (0, 4), (1, 7), (5, 2)] {
            assert!(cosine(&v[a], &v[b]) < 0.2, "{model}: {a} and {b}: {}", cosine(&v[a], &v[b]));
        }
        assert!(v.iter().all(|v| (cosine(v, v) - 1.0).abs() < 1e-5));
    }
}

#[test]
fn a_vector_does_not_depend_on_its_neighbours() {
    let Some(models) = load() else { return };
    for model in [INT8, FP32] {
        let among = embed(&models, model, &TEXTS);
        for (text, among) in TEXTS.iter().zip(&among) {
            let alone = &embed(&models, model, &[text])[0];
            let difference = alone.iter().zip(among).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < 1e-5, "{model}: {difference}");
        }
    }
}

#[test]
fn token_by_token_the_passage_that_answers_comes_first() {
    let Some(models) = load() else { return };
    for model in [INT8, FP32] {
        assert_eq!(models.reranker(Some(model)).and_then(|m| m.reranks), Some(Reranks::LateInteraction));
        let among = run(&models, model, Some(TEXTS[0]), &TEXTS[1..]);
        let best = among.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert!(among[0] == best && best > 0.4, "{model}: {among:?}");
        assert!(among[1..].iter().all(|other| *other < best - 0.1), "{model}: {among:?}");
        let same = run(&models, model, Some(TEXTS[0]), &TEXTS[..1])[0];
        assert!((same - 1.0).abs() < 0.02, "{model}: {same}");
        // The score depends neither on the other passages nor on the progress of the queue.
        for (text, among) in TEXTS[1..].iter().zip(&among) {
            let alone = run(&models, model, Some(TEXTS[0]), &[text])[0];
            assert!((alone - among).abs() < 1e-5, "{model}: {alone} {among}");
        }
    }
    assert!(models.reranker(None).is_none(), "no cross-encoder is there, and none was named");
}

#[test]
fn eight_bits_stay_close_to_full_precision() {
    let Some(models) = load() else { return };
    let (int8, fp32) = (embed(&models, INT8, &TEXTS), embed(&models, FP32, &TEXTS));
    for (i, (a, b)) in int8.iter().zip(&fp32).enumerate() {
        assert!(cosine(a, b) > 0.97, "text {i}: {}", cosine(a, b));
    }
}

#[test]
fn a_text_is_cut_where_the_model_ends() {
    let Some(models) = load() else { return };
    let start = "A sentence about vaults. ".repeat(60);
    let longer = start.clone() + &"tomato soup ".repeat(100_000);
    let v = embed(&models, FP32, &[&start, &longer]);
    assert!(cosine(&v[0], &v[1]) > 0.9999);
    let empty = embed(&models, INT8, &["", " ", "\u{0}"]);
    assert!(empty.iter().all(|v| (cosine(v, v) - 1.0).abs() < 1e-5));
}

#[test]
fn spans_cover_any_text() {
    let Some(models) = load() else { return };
    let tokens = models.tokens(INT8).expect("a tokeniser");
    let words = |text: &str| tokens.spans(text).iter().map(|s| text[s.start..s.end].to_owned()).collect::<Vec<_>>();
    assert_eq!(words("Café: keyring, 密钥."), ["Café", ":", "key", "ring", ",", "密", "钥", "."]);
    assert_eq!(tokens.count(""), 0);
    let sentence = "Keys are kept in a vault. ";
    assert_eq!(tokens.count(&sentence.repeat(20_000)), tokens.count(sentence) * 20_000);
    let blob = "0123456789abcdef".repeat(20_000);
    assert!((40_000..=320_000).contains(&tokens.count(&blob)), "{}", tokens.count(&blob));
}

#[test]
fn a_model_that_is_not_there_is_named() {
    let Some(mut config) = config() else { return };
    config.default = "no-such-model".to_owned();
    let error = Models::load(&config).unwrap_err();
    assert!(matches!(error, Error::ModelMissing { .. }) && error.to_string().contains("`models.default`"), "{error}");
}

#[test]
fn a_broken_model_names_its_file() {
    let Some(mut config) = config() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (config.folder.unwrap().join(INT8), dir.path().join(INT8));
    fs::create_dir(&to).unwrap();
    for file in ["config.json", "tokenizer.json"] {
        fs::copy(from.join(file), to.join(file)).unwrap();
    }
    config.folder = Some(dir.path().to_path_buf());
    let whole = fs::read(from.join("model.onnx")).unwrap();
    for broken in [&b""[..], b"no graph", &whole[..whole.len() / 2]] {
        fs::write(to.join("model.onnx"), broken).unwrap();
        let error = Models::load(&config).unwrap_err();
        assert!(matches!(error, Error::Unusable { .. }) && error.to_string().contains("model.onnx"), "{error}");
    }
    fs::write(to.join("model.onnx"), &whole).unwrap();
    fs::write(to.join("tokenizer.json"), "{}").unwrap();
    let error = Models::load(&config).unwrap_err();
    assert!(error.to_string().contains("tokenizer.json"), "{error}");
}

/// The runtime of `scripts/setup` has no GPU support, so this holds on machines with a GPU as well.
#[test]
fn a_gpu_is_never_replaced_silently() {
    let Some(mut config) = config() else { return };
    if env::var_os("RINGFENCE_ONNXRUNTIME").is_some() {
        return println!("not checked: another runtime, which may have a GPU");
    }
    config.provider = Provider::Cuda { device: 0, allow_cpu: false };
    let error = Models::load(&config).unwrap_err();
    assert!(matches!(error, Error::Cuda { .. }) && error.to_string().contains("models.allow_cpu"), "{error}");
    config.provider = Provider::Cuda { device: 0, allow_cpu: true };
    let models = Models::load(&config).expect("the CPU is allowed");
    assert_eq!(models.default_model().unwrap().provider, "cpu");
}
