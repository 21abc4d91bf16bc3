//! The user's own type as a check of a job's answers: a thread reads their texts, in batches while it holds the GIL.

use std::sync::{Arc, Mutex, PoisonError, mpsc};

use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use super::runtime::thread::block_signals;
use super::values;
use crate::bulk::run::ReadTexts;

/// Number of texts that are read while the GIL is held.
const TEXTS_AT_ONCE: usize = 64;

/// Reads texts as the user's type, in batches on a thread of its own.
pub(super) struct TextReader {
    read: Arc<Py<PyAny>>,
    queue: Mutex<Option<mpsc::Sender<Text>>>,
}

/// A text, and where the reasons go for which it is not a value of the type.
type Text = (String, oneshot::Sender<Vec<String>>);

impl TextReader {
    /// Creates it from the function that returns the reasons for which a text is not a value of the type.
    pub fn new(read: Py<PyAny>) -> Self {
        Self { read: Arc::new(read), queue: Mutex::new(None) }
    }

    /// Hands a text to the thread, which is started if there is none.
    fn send(&self, text: Text) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &*queue {
            Some(queue) => match queue.send(text) {
                Ok(()) => return,
                Err(mpsc::SendError(text)) => text,
            },
            None => text,
        };
        let (sender, texts) = mpsc::channel();
        let read = self.read.clone();
        let thread = std::thread::Builder::new().name("ritellm-check".into()).spawn(move || {
            block_signals();
            read_texts(&read, &texts);
        });
        // Without a thread the text is dropped, and the row has a reason that says so.
        if thread.is_ok() && sender.send(text).is_ok() {
            *queue = Some(sender);
        }
    }
}

fn read_texts(read: &Py<PyAny>, texts: &mpsc::Receiver<Text>) {
    let mut batch = Vec::new();
    while let Ok(first) = texts.recv() {
        batch.push(first);
        batch.extend(texts.try_iter().take(TEXTS_AT_ONCE - 1));
        let attached = Python::try_attach(|py| {
            for (text, reply) in batch.drain(..) {
                let reasons =
                    || -> PyResult<Vec<String>> { read.bind(py).call1((values::string(py, &text)?,))?.extract() };
                let reasons = reasons().unwrap_or_else(|error| vec![error.value(py).to_string()]);
                // A row that was given up does not wait for it.
                let _ = reply.send(reasons);
            }
        });
        if attached.is_none() {
            return;
        }
    }
}

impl ReadTexts for TextReader {
    fn read(&self, text: String) -> BoxFuture<'static, Vec<String>> {
        let (sender, reasons) = oneshot::channel();
        self.send((text, sender));
        Box::pin(async move {
            reasons.await.unwrap_or_else(|_| vec!["could not be read: the interpreter has ended".to_owned()])
        })
    }
}
