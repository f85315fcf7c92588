use super::*;
use crate::{
    TaskKind, TenantQueueId,
    embedder::{Embedded, Embedder},
    pending::Question,
};
use kernel::Untrusted;
use parking_lot::Condvar;
use std::sync::{
    atomic::{AtomicBool, Ordering},
    mpsc::{Receiver, channel},
};

/// Holds the model threads until the test opens it.
#[derive(Default)]
struct Gate {
    state: Mutex<(usize, bool)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.0 += 1;
        self.changed.notify_all();
        self.changed.wait_while(&mut state, |s| !s.1);
    }

    fn wait_for_arrivals(&self, n: usize) {
        self.changed.wait_while(&mut self.state.lock(), |s| s.0 < n);
    }

    fn open(&self) {
        self.state.lock().1 = true;
        self.changed.notify_all();
    }
}

/// Embeds a text as its length; a few words have special effects.
struct ScriptedEmbedder(Arc<Gate>);

impl Embedder for ScriptedEmbedder {
    fn score(&mut self, question: &Question, texts: &[&str]) -> Result<Embedded, Error> {
        let shared = question.tokens.get_or_init(|| vec![question.text().len() as f32])[0];
        let mut scored = self.embed(TaskKind::Query, texts)?;
        scored.values.iter_mut().for_each(|length| *length -= shared);
        Ok(scored)
    }

    fn embed(&mut self, _kind: TaskKind, texts: &[&str]) -> Result<Embedded, Error> {
        let mut embedded = Embedded { tokens: texts.len(), ..Embedded::default() };
        for text in texts {
            match *text {
                "wait" => self.0.pass(),
                "panic" => panic!("as requested"),
                "error" => return Err(Error::Run("as requested".to_owned())),
                "nan" => embedded.values.push(f32::NAN),
                _ => {}
            }
            embedded.values.resize(embedded.tokens.min(embedded.values.len() + 1), text.len() as f32);
        }
        Ok(embedded)
    }
}

fn scripted_models(queue_max: usize) -> (Models, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let mut model = fake::model(1);
    let mine = Arc::clone(&gate);
    model.batch_max = 2;
    model.open = Box::new(move || Ok(Box::new(ScriptedEmbedder(Arc::clone(&mine)))));
    (Models::serve(vec![model], None, 1, queue_max).expect("threads start"), gate)
}

type Reply = Receiver<kernel::Result<Vec<f32>>>;

fn job(lane: u8, texts: &[&str]) -> (EmbedJob, Reply, Arc<AtomicBool>) {
    let (send, reply) = channel();
    let cancelled = Arc::new(AtomicBool::new(false));
    let job = EmbedJob {
        model: "fake".to_owned(),
        queue: TenantQueueId([lane; 16]),
        kind: TaskKind::Passage,
        texts: texts.iter().map(|t| Untrusted::new(*t)).collect(),
        question: None,
        cancelled: Arc::clone(&cancelled),
        done: Box::new(move |result| drop(send.send(result))),
    };
    (job, reply, cancelled)
}

fn submit(models: &Models, lane: u8, texts: &[&str]) -> Reply {
    let (job, reply, _) = job(lane, texts);
    models.submit(job).expect("the queue has capacity");
    reply
}

fn code(reply: &Reply) -> Code {
    reply.recv().expect("an answer").expect_err("a refusal").code
}

#[test]
fn vectors_come_in_the_order_of_the_texts() {
    let (models, _gate) = scripted_models(100);
    // Batches are formed by length; the result is in the order of the texts.
    let vectors = submit(&models, 1, &["four", "a", "", "seven..", "22", "333"]).recv().unwrap().unwrap();
    assert_eq!(vectors, [4.0, 1.0, 0.0, 7.0, 2.0, 3.0]);
    assert!(submit(&models, 1, &[]).recv().unwrap().unwrap().is_empty());
    models.stop();
    let stats = models.stats();
    assert_eq!((stats.waiting, stats.running, stats.models[0].texts_total, stats.models[0].tokens_total), (0, 0, 6, 6));
}

#[test]
fn scores_come_in_the_order_of_the_texts_one_each() {
    let (models, _gate) = scripted_models(100);
    let (mut judged, reply, _) = job(1, &["four", "a", "", "seven..", "22"]);
    judged.question = Some(Untrusted::new("two"));
    models.submit(judged).unwrap();
    assert_eq!(reply.recv().unwrap().unwrap(), [1.0, -2.0, -3.0, 4.0, -1.0]);
}

#[test]
fn a_model_gets_only_jobs_that_it_supports() {
    let mut model = fake::model(8);
    model.info.reranks = None;
    let models = Models::serve(vec![model], None, 1, 100).unwrap();
    let (mut judged, _, _) = job(1, &["x"]);
    judged.question = Some(Untrusted::new("y"));
    let refused = models.submit(judged).unwrap_err();
    assert_eq!((refused.code, refused.param.as_deref()), (Code::ModelUnavailable, Some("model")));
    assert!(models.reranker(None).is_none() && models.reranker(Some("fake")).is_none());
    let mut model = fake::model(8);
    model.info.dimensions = 0;
    let models = Models::serve(vec![model], None, 1, 100).unwrap();
    assert_eq!(models.submit(job(1, &["x"]).0).unwrap_err().code, Code::ModelUnavailable);
    assert!(models.embedder("fake").is_none() && models.reranker(None).is_some());
}

#[test]
fn a_full_queue_refuses_and_recovers() {
    let (models, gate) = scripted_models(4);
    let held = submit(&models, 1, &["wait"]);
    gate.wait_for_arrivals(1);
    let replies: Vec<Reply> = (2..6).map(|lane| submit(&models, lane, &["x"])).collect();
    let refused = models.submit(job(6, &["x"]).0).expect_err("the queue is full");
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.retry_after.is_some());
    assert_eq!(models.stats().waiting, 4);
    gate.open();
    for reply in replies.iter().chain([&held]) {
        reply.recv().unwrap().unwrap();
    }
    submit(&models, 6, &["x"]).recv().unwrap().unwrap();
}

#[test]
fn a_cancelled_job_is_never_embedded() {
    let (models, gate) = scripted_models(100);
    let held = submit(&models, 1, &["wait"]);
    gate.wait_for_arrivals(1);
    let (gone, gone_reply, cancelled) = job(1, &["panic"]);
    models.submit(gone).unwrap();
    let after = submit(&models, 1, &["x"]);
    cancelled.store(true, Ordering::Relaxed);
    gate.open();
    held.recv().unwrap().unwrap();
    after.recv().unwrap().unwrap();
    assert_eq!(code(&gone_reply), Code::Conflict);
    models.stop();
    assert_eq!(models.stats().models[0].texts_total, 2);
}

#[test]
fn a_failing_text_fails_its_job_alone() {
    let (models, _gate) = scripted_models(100);
    for bad in ["panic", "error", "nan"] {
        let (bad, good) = (submit(&models, 1, &["x", "y", bad]), submit(&models, 2, &["x"]));
        let error = bad.recv().unwrap().unwrap_err();
        assert_eq!(error.code, Code::Internal);
        assert!(!format!("{error}").contains("as requested"));
        assert_eq!(good.recv().unwrap().unwrap(), [1.0]);
    }
}

#[test]
fn a_panic_in_the_callback_leaves_the_thread_alive() {
    let (models, _gate) = scripted_models(100);
    let (mut bad, _, _) = job(1, &["x"]);
    bad.done = Box::new(|_| panic!("as requested"));
    models.submit(bad).unwrap();
    submit(&models, 1, &["x"]).recv().unwrap().unwrap();
}

#[test]
fn stopping_fails_what_waits_and_refuses_more() {
    let (models, gate) = scripted_models(100);
    let held = submit(&models, 1, &["wait"]);
    gate.wait_for_arrivals(1);
    let waiting = submit(&models, 2, &["x"]);
    let stopper = thread::spawn({
        let models = models.clone();
        move || models.stop()
    });
    assert_eq!(code(&waiting), Code::ModelUnavailable);
    gate.open();
    stopper.join().unwrap();
    held.recv().unwrap().unwrap();
    assert_eq!(models.submit(job(1, &["x"]).0).unwrap_err().code, Code::ModelUnavailable);
}

#[test]
fn the_last_clone_may_be_dropped_on_a_model_thread() {
    let (models, gate) = scripted_models(100);
    let (mut last, _, _) = job(1, &["wait"]);
    let (send, gone) = channel();
    let clone = models.clone();
    last.done = Box::new(move |_| {
        drop(clone);
        send.send(()).expect("the test waits");
    });
    models.submit(last).unwrap();
    gate.wait_for_arrivals(1);
    drop(models);
    gate.open();
    gone.recv().expect("the drop does not wait for its own thread");
}

#[test]
fn nothing_serves_without_a_model() {
    let models = Models::unavailable("no model folder");
    assert_eq!(models.reason().as_deref(), Some("no model folder"));
    assert!(models.default_model().is_none() && models.list().is_empty() && models.tokens("fake").is_none());
    assert_eq!(models.submit(job(1, &["x"]).0).unwrap_err().code, Code::ModelUnavailable);
    assert_eq!(
        Models::fake(8)
            .submit(EmbedJob { model: "other".to_owned(), ..job(1, &["x"]).0 })
            .unwrap_err()
            .param
            .as_deref(),
        Some("model")
    );
}

#[test]
fn the_fake_reports_what_it_is() {
    let models = Models::fake(8);
    let info = models.default_model().unwrap();
    assert_eq!((info.name.as_str(), info.dimensions, info.provider), ("fake", 8, "fake"));
    assert_eq!(models.embedder("fake"), Some(info));
    assert_eq!(models.tokens("fake").unwrap().count("two words"), 2);
    assert_eq!(submit(&models, 1, &["a", "b", "c"]).recv().unwrap().unwrap().len(), 24);
}
