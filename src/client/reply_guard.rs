//! Guard that replies to a waiting caller even if the work for it panics.

use crate::error::{Error, ErrorKind};

/// Gives an answer once: the one that is [sent](Self::send) or, if a panic drops the guard before that, one made of an
/// error. Dropped otherwise, it gives none: no caller waits for work that was cancelled.
pub struct ReplyGuard<T, Give: FnOnce(T)> {
    give: Option<Give>,
    failed: fn(Box<Error>) -> T,
}

impl<T, Give: FnOnce(T)> ReplyGuard<T, Give> {
    /// Creates a guard that calls `give` with the answer; `failed` makes an answer of an error.
    pub fn new(give: Give, failed: fn(Box<Error>) -> T) -> Self {
        Self { give: Some(give), failed }
    }

    /// Sends this answer.
    pub fn send(mut self, answer: T) {
        if let Some(give) = self.give.take() {
            give(answer);
        }
    }

    /// Releases the guard without an answer.
    pub fn disarm(mut self) {
        self.give = None;
    }
}

impl<T, Give: FnOnce(T)> Drop for ReplyGuard<T, Give> {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Some(give) = self.give.take()
        {
            let message =
                "a fault of RiteLLM's own ended this call, and no other: please report what it wrote to stderr";
            give((self.failed)(Error::new(ErrorKind::Internal, message)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// Returns the answer of a guard that `work` gets in a task of its own, or `None` if there is none.
    async fn outcome(
        work: impl FnOnce(ReplyGuard<Result<u8, Box<Error>>, Box<dyn FnOnce(Result<u8, Box<Error>>) + Send>>)
        + Send
        + 'static,
    ) -> Option<Result<u8, ErrorKind>> {
        let (give, given) = oneshot::channel();
        let give: Box<dyn FnOnce(_) + Send> = Box::new(move |answer| drop(give.send(answer)));
        let reply = ReplyGuard::new(give, Err);
        let task = tokio::spawn(async move {
            tokio::task::yield_now().await;
            work(reply);
        });
        drop(task.await);
        given.await.ok().map(|answer| answer.map_err(|error| error.kind))
    }

    #[tokio::test]
    async fn one_answer_at_most_and_one_at_least_after_a_panic() {
        assert_eq!(outcome(|reply| reply.send(Ok(1))).await, Some(Ok(1)));
        assert_eq!(outcome(|_reply| panic!("as this test wants it")).await, Some(Err(ErrorKind::Internal)));
        assert_eq!(outcome(drop).await, None);
        assert_eq!(outcome(ReplyGuard::disarm).await, None);
    }
}
