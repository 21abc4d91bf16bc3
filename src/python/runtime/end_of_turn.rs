//! Actions that the network thread takes at the end of a scheduler turn.

use std::cell::RefCell;
use std::sync::Arc;

use tokio::sync::Notify;

thread_local! {
    /// Actions for the end of the turn on a network thread; `None` on all other threads.
    static PENDING: RefCell<Option<Pending>> = const { RefCell::new(None) };
}

struct Pending {
    actions: Vec<Box<dyn FnOnce()>>,
    /// Wakes [`run_actions`] for the first action of a turn.
    wanted: Arc<Notify>,
}

/// Runs `action` once everything that is ready on the network thread has been polled, so that a burst of answers wakes
/// their event loop once. On another thread, runs it at once.
pub(crate) fn at_end_of_turn(action: impl FnOnce() + 'static) {
    let is_network_thread = PENDING.with_borrow(Option::is_some);
    if !is_network_thread {
        return action();
    }
    PENDING.with_borrow_mut(|pending| {
        let Some(pending) = pending else { return };
        pending.actions.push(Box::new(action));
        if pending.actions.len() == 1 {
            pending.wanted.notify_one();
        }
    });
}

/// Runs the actions, for ever. Being a task, it is polled after all that is ready at the same time and therefore stands
/// before it in the scheduler's queue.
pub(super) async fn run_actions() {
    let wanted = Arc::new(Notify::new());
    PENDING.set(Some(Pending { actions: Vec::new(), wanted: wanted.clone() }));
    loop {
        wanted.notified().await;
        let actions =
            PENDING.with_borrow_mut(|pending| pending.as_mut().map(|pending| std::mem::take(&mut pending.actions)));
        actions.into_iter().flatten().for_each(|action| action());
    }
}
