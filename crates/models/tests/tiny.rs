//! A model that is not ours: no special operators, one vector per token, a vocabulary of five words.
//!
//! Shows that a folder alone makes a model, that pooling leaves padding out, and that misfits are named. Needs the
//! runtime; see `real.rs` for what happens without.
#![expect(clippy::print_stdout, reason = "a test that checked nothing says so")]

use kernel::Untrusted;
use models::{Error, Job, Kind, Lane, Models, ModelsConfig, discover};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::channel},
};

/// Rows of the embedding table: what the words stand for.
const TABLE: [[f32; 2]; 6] = [[9.0, 9.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0], [-1.0, 0.0], [5.0, 5.0]];

const TOKENIZER: &str = r#"{
  "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
  "post_processor": null, "decoder": null, "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
  "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
  "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "right": 2, "up": 3, "left": 4, "both": 5}}
}"#;

fn write(inputs: &[&str], output: &str, config: &str) -> Option<(tempfile::TempDir, ModelsConfig)> {
    let named = env::var_os("RINGFENCE_ONNXRUNTIME").map(PathBuf::from);
    let runtime = discover(named.as_deref(), None, &[Path::new(env!("CARGO_MANIFEST_DIR"))]).runtime;
    if runtime.is_none() {
        assert!(env::var_os("CI").is_none(), "no runtime: run scripts/setup");
        println!("not checked: no runtime; run scripts/setup");
        return None;
    }
    let dir = tempfile::tempdir().expect("a folder");
    let folder = dir.path().join("tiny");
    fs::create_dir(&folder).expect("a folder in it");
    fs::write(folder.join("model.onnx"), model(inputs, output)).expect("a file in it");
    fs::write(folder.join("tokenizer.json"), TOKENIZER).expect("a file in it");
    fs::write(folder.join("config.json"), config).expect("a file in it");
    let folder = Some(dir.path().to_path_buf());
    Some((dir, ModelsConfig { runtime, folder, default: "tiny".to_owned(), ..ModelsConfig::default() }))
}

fn embed(models: &Models, texts: &[&str]) -> Vec<f32> {
    let (send, reply) = channel();
    let job = Job {
        model: "tiny".to_owned(),
        lane: Lane([1; 16]),
        kind: Kind::Passage,
        texts: texts.iter().map(|t| Untrusted::new(*t)).collect(),
        cancelled: Arc::default(),
        done: Box::new(move |result| drop(send.send(result))),
    };
    models.submit(job).expect("there is room");
    reply.recv().expect("an answer").expect("vectors")
}

#[test]
fn tokens_are_averaged_without_padding() {
    let Some((_dir, config)) = write(&["input_ids", "attention_mask"], "last_hidden_state", "{}") else { return };
    let models = Models::load(&config).expect("it loads");
    let info = models.default_model().expect("it serves");
    assert_eq!((info.dimensions, info.max_tokens), (2, 512));
    // Mean of (3,0) and (0,4) points to (0.6, 0.8); `right` alone to (1, 0), however long its neighbours are.
    let vectors = embed(&models, &["right up", "right", "left left left left left", "both"]);
    let expected = [0.6, 0.8, 1.0, 0.0, -1.0, 0.0, 0.5_f32.sqrt(), 0.5_f32.sqrt()];
    assert!(vectors.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{vectors:?}");
}

#[test]
fn its_own_limit_counts_and_not_the_tokenisers() {
    let config = r#"{"max_position_embeddings": 8}"#;
    let Some((_dir, config)) = write(&["input_ids", "attention_mask"], "last_hidden_state", config) else { return };
    let models = Models::load(&config).expect("it loads");
    let (eight, nine) = ("right ".repeat(7) + "up", "right ".repeat(8) + "up");
    assert!(embed(&models, &[&eight])[1] > 0.1);
    assert_eq!(embed(&models, &[&nine]), [1.0, 0.0]);
    assert_eq!(models.tokens("tiny").expect("a tokeniser").count(&nine), 9);
}

#[test]
fn a_misfit_says_what_it_lacks() {
    for (inputs, output, config, why) in [
        (&["input_ids", "attention_mask"][..], "logits", "{}", "sentence_embedding"),
        (&["input_ids"], "last_hidden_state", "{}", "attention_mask"),
        (&["input_ids", "attention_mask", "pixels"], "last_hidden_state", "{}", "`pixels`"),
        (&["input_ids", "attention_mask"], "last_hidden_state", r#"{"max_position_embeddings": 2}"#, "config.json"),
    ] {
        let Some((_dir, config)) = write(inputs, output, config) else { return };
        let error = Models::load(&config).expect_err("a misfit");
        assert!(matches!(error, Error::Unusable { .. }) && error.to_string().contains(why), "{why} is not in: {error}");
    }
}

/// `output = Gather(table, input_ids)` in the wire format of ONNX.
fn model(inputs: &[&str], output: &str) -> Vec<u8> {
    let node = [text(1, "table"), text(1, "input_ids"), text(2, output), text(4, "Gather")].concat();
    let floats: Vec<u8> = TABLE.iter().flatten().flat_map(|x| x.to_le_bytes()).collect();
    let table = [vec![1 << 3, 6, 1 << 3, 2, 2 << 3, 1], text(8, "table"), bytes(9, &floats)].concat();
    let mut graph = [bytes(1, &node), text(2, "tiny"), bytes(5, &table)].concat();
    for input in inputs {
        graph.extend(bytes(11, &value(input, 7, &["batch", "sequence"])));
    }
    graph.extend(bytes(12, &value(output, 1, &["batch", "sequence", "width"])));
    [vec![1 << 3, 8], bytes(7, &graph), bytes(8, &[2 << 3, 17])].concat()
}

fn value(name: &str, kind: u8, dimensions: &[&str]) -> Vec<u8> {
    let shape: Vec<u8> = dimensions.iter().flat_map(|d| bytes(1, &text(2, d))).collect();
    let tensor = [vec![1 << 3, kind], bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
}

fn text(field: u8, text: &str) -> Vec<u8> {
    bytes(field, text.as_bytes())
}

fn bytes(field: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("tiny");
    let length = if length < 128 { vec![length as u8] } else { vec![(length & 127) as u8 | 128, (length >> 7) as u8] };
    [vec![field << 3 | 2], length, body.to_vec()].concat()
}
