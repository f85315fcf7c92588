//! A model that is not ours: no special operators, one vector per token, a vocabulary of five words.
//!
//! It shows that a folder alone is a model, that pooling leaves padding out, and that unusable models are named in the
//! error. It needs the runtime; see `real.rs` for what happens without it.
#![expect(clippy::print_stdout, reason = "a test that checked nothing says so")]

use kernel::Untrusted;
use models::{EmbedJob, Error, Models, ModelsConfig, Reranks, TaskKind, TenantQueueId, discover};
use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, mpsc::channel},
};

/// Rows of the embedding table: the vectors of the words.
const TABLE: [[f32; 2]; 6] = [[9.0, 9.0], [0.0, 1.0], [3.0, 0.0], [0.0, 4.0], [-1.0, 0.0], [5.0, 5.0]];

const TOKENIZER: &str = r#"{
  "version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": {"type": "Whitespace"},
  "post_processor": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}], "special_tokens": {}}, "decoder": null, "truncation": {"max_length": 2, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
  "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"},
  "model": {"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "right": 2, "up": 3, "left": 4, "both": 5}}
}"#;

fn write(inputs: &[&str], output: &str, config: &str) -> Option<(tempfile::TempDir, ModelsConfig)> {
    let (dir, config) = (folder("tiny", &model(inputs, output), config), runtime()?);
    let folder = Some(dir.path().to_path_buf());
    Some((dir, ModelsConfig { folder, default: "tiny".to_owned(), ..config }))
}

fn folder(name: &str, model: &[u8], config: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    add(&dir, name, model, config);
    dir
}

fn add(dir: &tempfile::TempDir, name: &str, model: &[u8], config: &str) {
    let folder = dir.path().join(name);
    fs::create_dir(&folder).expect("a folder in it");
    fs::write(folder.join("model.onnx"), model).expect("a file in it");
    fs::write(folder.join("tokenizer.json"), TOKENIZER).expect("a file in it");
    fs::write(folder.join("config.json"), config).expect("a file in it");
}

fn runtime() -> Option<ModelsConfig> {
    let named = env::var_os("RINGFENCE_ONNXRUNTIME").map(PathBuf::from);
    let runtime = discover(named.as_deref(), None, &[Path::new(env!("CARGO_MANIFEST_DIR"))]).runtime;
    if runtime.is_none() {
        assert!(env::var_os("CI").is_none(), "no runtime: run scripts/setup");
        println!("not checked: no runtime; run scripts/setup");
        return None;
    }
    Some(ModelsConfig { runtime, ..ModelsConfig::default() })
}

fn embed(models: &Models, texts: &[&str]) -> Vec<f32> {
    run(models, "tiny", TaskKind::Passage, None, texts)
}

fn run(models: &Models, model: &str, kind: TaskKind, question: Option<&str>, texts: &[&str]) -> Vec<f32> {
    let (send, reply) = channel();
    let job = EmbedJob {
        model: model.to_owned(),
        queue: TenantQueueId([1; 16]),
        kind,
        texts: texts.iter().map(|t| Untrusted::new(*t)).collect(),
        question: question.map(Untrusted::new),
        cancelled: Arc::default(),
        done: Box::new(move |result| drop(send.send(result))),
    };
    models.submit(job).expect("the queue has capacity");
    reply.recv().expect("an answer").expect("vectors")
}

#[test]
fn tokens_are_averaged_without_padding() {
    let Some((_dir, config)) = write(&["input_ids", "attention_mask"], "last_hidden_state", "{}") else { return };
    let models = Models::load(&config).expect("it loads");
    let info = models.default_model().expect("it serves");
    assert_eq!((info.dimensions, info.max_tokens), (2, 512));
    // The mean of (3,0) and (0,4) points to (0.6, 0.8); `right` alone to (1, 0), however long the other texts are.
    let vectors = embed(&models, &["right up", "right", "left left left left left", "both"]);
    let expected = [0.6, 0.8, 1.0, 0.0, -1.0, 0.0, 0.5_f32.sqrt(), 0.5_f32.sqrt()];
    assert!(vectors.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{vectors:?}");
}

#[test]
fn the_models_limit_counts_and_not_the_tokenisers() {
    let config = r#"{"max_position_embeddings": 8}"#;
    let Some((_dir, config)) = write(&["input_ids", "attention_mask"], "last_hidden_state", config) else { return };
    let models = Models::load(&config).expect("it loads");
    let (eight, nine) = ("right ".repeat(7) + "up", "right ".repeat(8) + "up");
    assert!(embed(&models, &[&eight])[1] > 0.1);
    assert_eq!(embed(&models, &[&nine]), [1.0, 0.0]);
    assert_eq!(models.tokens("tiny").expect("a tokeniser").count(&nine), 9);
}

#[test]
fn an_unusable_model_names_what_it_lacks() {
    for (inputs, output, config, why) in [
        (&["input_ids", "attention_mask"][..], "pooler", "{}", "sentence_embedding"),
        (&["input_ids", "attention_mask"], "logits", "{}", "single finite score"),
        (&["input_ids"], "last_hidden_state", "{}", "attention_mask"),
        (&["input_ids", "attention_mask", "pixels"], "last_hidden_state", "{}", "`pixels`"),
        (&["input_ids", "attention_mask"], "last_hidden_state", r#"{"max_position_embeddings": 2}"#, "config.json"),
    ] {
        let Some((_dir, config)) = write(inputs, output, config) else { return };
        let error = Models::load(&config).expect_err("a misfit");
        assert!(matches!(error, Error::Unusable { .. }) && error.to_string().contains(why), "{why} is not in: {error}");
    }
}

#[test]
fn a_prefix_precedes_each_text_and_takes_its_tokens() {
    let (Some(config), model) = (runtime(), model(&["input_ids", "attention_mask"], "last_hidden_state")) else {
        return;
    };
    for (prompts, query, passage) in [
        (r#"{"prompts": {"query": "up ", "passage": "left left "}}"#, [0.6, 0.8], [1.0 / 3.0, 0.0]),
        (r#"{"prompts": {"all": "up "}, "default_prompt_name": "all"}"#, [0.6, 0.8], [0.6, 0.8]),
        (r#"{"query_prefix": "up ", "document_prefix": null}"#, [0.6, 0.8], [1.0, 0.0]),
        (r#"{"prompts": {"clustering": "up "}, "similarity_fn_name": "cosine"}"#, [1.0, 0.0], [1.0, 0.0]),
    ] {
        let dir = folder("tiny", &model, r#"{"max_position_embeddings": 12}"#);
        fs::write(dir.path().join("tiny/config_sentence_transformers.json"), prompts).expect("a file in it");
        let folder = Some(dir.path().to_path_buf());
        let config = ModelsConfig { folder, default: "tiny".to_owned(), ..config.clone() };
        let models = Models::load(&config).expect("it loads");
        let unit = |v: [f32; 2]| v.map(|x| x / (v[0] * v[0] + v[1] * v[1]).sqrt());
        for (kind, expected) in [(TaskKind::Query, query), (TaskKind::Passage, passage)] {
            let vector = run(&models, "tiny", kind, None, &["right"]);
            assert!(vector.iter().zip(unit(expected)).all(|(a, b)| (a - b).abs() < 1e-6), "{prompts}: {vector:?}");
        }
        let longest = prompts.matches("left ").count().max(usize::from(query[1] > 0.0));
        assert_eq!(models.default_model().map(|m| m.max_tokens), Some(12 - longest), "{prompts}");
    }
}

#[test]
fn a_cross_encoder_reads_question_and_passage_as_two_parts() {
    let Some(config) = runtime() else { return };
    let dir = folder("tiny", &model(&["input_ids", "attention_mask"], "last_hidden_state"), "{}");
    add(&dir, "judge", &judge(), r#"{"max_position_embeddings": 8}"#);
    let config = ModelsConfig { folder: Some(dir.path().to_path_buf()), default: "tiny".to_owned(), ..config };
    let models = Models::load(&config).expect("it loads");
    let info = models.reranker(None).expect("the one cross-encoder");
    assert_eq!((info.name.as_str(), info.dimensions, info.reranks), ("judge", 0, Some(Reranks::CrossEncoder)));
    assert!(models.embedder("judge").is_none());
    let score = |question: &str, texts: &[&str]| run(&models, "judge", TaskKind::Query, Some(question), texts);
    let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
    // Words of the question count nothing in this model; those of the passage count as `WEIGHTS` says.
    let scores = score("left left", &["right up", "left", "right right right", "nothing"]);
    let expected = [2.0, -3.0, 4.5, 0.0].map(logistic);
    assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{scores:?}");
    // The longer of both is truncated: of eight tokens the passage keeps two, then four.
    for (question, passage, logit) in
        [("left ".repeat(20), "right right", 3.0), ("left ".repeat(20), "right right right right right", 6.0)]
    {
        assert!((score(&question, &[passage])[0] - logistic(logit)).abs() < 1e-5, "{passage}");
    }
    let wrong = ModelsConfig { reranker: Some("missing".to_owned()), ..config.clone() };
    assert!(Models::load(&wrong).is_err_and(|e| e.to_string().contains("`models.reranker`")));
    let wrong = ModelsConfig { default: "judge".to_owned(), ..config };
    assert!(Models::load(&wrong).is_err_and(|e| matches!(e, Error::NoVectors { .. })));
}

#[test]
fn tokens_of_an_embedder_serve_late_interaction() {
    let Some((_dir, config)) = write(&["input_ids", "attention_mask"], "last_hidden_state", "{}") else { return };
    let models = Models::load(&ModelsConfig { reranker: Some("tiny".to_owned()), ..config }).expect("it loads");
    assert_eq!(models.reranker(None).and_then(|m| m.reranks), Some(Reranks::LateInteraction));
    let texts = ["up right", "left", "both", "right right right right"];
    let scores = run(&models, "tiny", TaskKind::Query, Some("right up"), &texts);
    // `right` is (1, 0), `up` (0, 1), `left` (-1, 0), `both` halfway between the first two.
    let expected = [1.0, -0.5, 0.5_f32.sqrt(), 0.5];
    assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{scores:?}");
}

/// What a word of the passage adds to a score.
const WEIGHTS: [f32; 6] = [0.0, 0.0, 1.5, 0.5, -3.0, 9.0];

/// `logits = ReduceSum(Gather(weights, input_ids) * token_type_ids, axis 1)`: `batch x 1`.
fn judge() -> Vec<u8> {
    let node = |inputs: &[&str], output: &str, operator: &str, attributes: &[(&str, u8)]| {
        let mut node: Vec<u8> = inputs.iter().flat_map(|i| text(1, i)).collect();
        node.extend([text(2, output), text(4, operator)].concat());
        for (name, value) in attributes {
            node.extend(bytes(5, &[text(1, name), vec![3 << 3, *value], vec![(20 << 3 & 127) | 128, 1, 2]].concat()));
        }
        bytes(1, &node)
    };
    let constant = |name: &str, kind: u8, dims: &[u8], raw: &[u8]| {
        let dims: Vec<u8> = dims.iter().flat_map(|d| [1 << 3, *d]).collect();
        bytes(5, &[dims, vec![2 << 3, kind], text(8, name), bytes(9, raw)].concat())
    };
    let weights: Vec<u8> = WEIGHTS.iter().flat_map(|x| x.to_le_bytes()).collect();
    let mut graph = [
        node(&["weights", "input_ids"], "words", "Gather", &[]),
        node(&["token_type_ids"], "parts", "Cast", &[("to", 1)]),
        node(&["parts", "two"], "columns", "Unsqueeze", &[]),
        node(&["words", "columns"], "counted", "Mul", &[]),
        node(&["counted", "one"], "logits", "ReduceSum", &[("keepdims", 0)]),
        text(2, "judge"),
        constant("weights", 1, &[6, 1], &weights),
        constant("one", 7, &[1], &1_i64.to_le_bytes()),
        constant("two", 7, &[1], &2_i64.to_le_bytes()),
    ]
    .concat();
    for input in ["input_ids", "attention_mask", "token_type_ids"] {
        graph.extend(bytes(11, &value(input, 7, &["batch", "sequence"])));
    }
    graph.extend(bytes(12, &value("logits", 1, &["batch", "one"])));
    [vec![1 << 3, 8], bytes(7, &graph), bytes(8, &[2 << 3, 17])].concat()
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
