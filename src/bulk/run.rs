//! The driver of a job: reads rows on a thread, makes their calls on another, and puts the outcomes into the journal.
//!
//! - `calls`: from what a row asks for to a call of the job's client
//! - `check`: answers that have to follow a schema
//! - `reader`: the thread that reads rows, no faster than they are needed
//! - `driver`: carries out the decisions of the [schedule](super::schedule)
//! - `status`: what is known of a job while it runs

mod calls;
mod check;
mod driver;
mod reader;
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::sync::Notify;

pub(in crate::bulk) use calls::RowWork;
pub use calls::{Calls, Destination, FindLookup, FindModel, Models};
pub use check::{Check, ReadTexts};
pub(in crate::bulk) use check::{Verdict, ask_again, sum_of, unfit};
pub use reader::{Input, Prepare, Prepared};
pub(super) use status::ReadCounts;
pub(in crate::bulk) use status::SOURCE;
pub use status::{Snapshot, State, Status};

use super::journal::Journal;
use super::outcome::Outcome;
use super::schedule::{Halt, Options};
use crate::client::{Call, Client, Settings};
use crate::error::{Error, Result};
use driver::Driver;
use reader::{Queue, Skip};

/// A job, ready to be run.
pub struct Run {
    /// Settings of the job's client, which has connections of its own.
    pub settings: Settings,
    /// The rows.
    pub input: Input,
    /// The journal.
    pub journal: Arc<Journal>,
    /// Bounds.
    pub options: Options,
    /// True if rows that ended as errors run again.
    pub retry_failed: bool,
    /// True if rows with the same key are one call.
    pub dedupe: bool,
    /// Functions that are called when the thread begins to wait, and when it works again.
    pub watch: Watch,
    /// Observer of the rows' outcomes.
    pub observer: Option<Arc<dyn RowObserver>>,
    /// True if it does not matter how far ahead rows are read: they come from what can be read again.
    pub is_eager: bool,
}

/// Learns of the outcomes of rows. It is called on the job's thread and must not wait, but for rows of a provider's batch.
pub trait RowObserver: Send + Sync {
    /// A row has ended: its outcome, and its call if there was one.
    fn ended(&self, outcome: &Outcome, call: Option<&Call>);
}

/// Functions that are called when a job's thread begins to wait, and when it works again.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    /// It begins to wait.
    pub waits: fn(),
    /// It works again.
    pub works: fn(),
}

impl Default for Watch {
    fn default() -> Self {
        Self { waits: || {}, works: || {} }
    }
}

/// Number of rows that are read ahead where that does not matter. Handing rows over in smaller parts would wait for the
/// reading thread to be scheduled, which takes milliseconds on a busy machine.
const EAGER: usize = 512;

/// Why a run has ended although rows are pending.
#[derive(Debug)]
pub struct Pause {
    /// The kind of reason.
    pub halt: Halt,
    /// What happened, if it was not the user who stopped it.
    pub error: Option<Box<Error>>,
}

impl Pause {
    /// The pause of a job that its user stopped.
    pub fn stopped() -> Self {
        Self { halt: Halt::Stopped, error: None }
    }

    /// The pause of a job whose journal cannot be written.
    pub fn journal(error: Box<Error>) -> Self {
        Self { halt: Halt::Journal, error: Some(error) }
    }
}

/// Stops a job that runs.
#[derive(Debug, Default)]
pub struct Stop {
    level: AtomicU8,
    /// Wakes the driver.
    wake: Arc<Notify>,
}

impl Stop {
    /// Admits no further rows; calls in flight land.
    pub fn drain(&self) {
        self.raise(1);
    }

    /// Ends the job at once; rows in flight stay pending.
    pub fn abort(&self) {
        self.raise(2);
    }

    fn raise(&self, level: u8) {
        self.level.fetch_max(level, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Returns true if the job is to end, at once or when its calls have landed.
    pub fn is_stopped(&self) -> bool {
        self.level.load(Ordering::Relaxed) > 0
    }

    fn is_aborted(&self) -> bool {
        self.level.load(Ordering::Relaxed) > 1
    }
}

impl Run {
    /// Runs the job on this thread until every row has an outcome, or the job pauses. Returns the input, with the rows that
    /// were read and have no outcome, unless the job was aborted while a row was read; and why it pauses, if it does.
    ///
    /// # Errors
    ///
    /// The runtime or the thread that reads cannot be started.
    pub fn run(self, status: &Arc<Status>, stop: &Arc<Stop>) -> Result<(Option<Input>, Option<Pause>)> {
        let failed = |error: std::io::Error| Error::connection(format!("a job cannot be started: {error}")).unsent();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().on_thread_park(self.watch.waits).on_thread_unpark(self.watch.works);
        let runtime = runtime.build().map_err(failed)?;
        let Self { settings, input, journal, options, retry_failed, dedupe, watch, observer, is_eager } = self;
        let queue = Arc::new(Queue::new(stop.wake.clone()));
        let skip = Skip {
            retry_failed,
            dedupe,
            is_resumed: {
                let counts = journal.counts();
                counts.done + counts.failed > 0
            },
        };
        let reader = reader::start(input, journal.reader(), queue.clone(), status.clone(), skip).map_err(failed)?;
        let spent = journal.totals();
        let mut driver = Driver::new(
            options,
            journal,
            queue.clone(),
            status.clone(),
            stop.clone(),
            &spent,
            is_eager.then_some(EAGER),
        );
        driver.observer = observer;
        status.blocks(Some("its client to begin"));
        let client = Arc::new(Client::new(&settings));
        (watch.works)();
        runtime.block_on(driver.run(&client));
        if driver.is_refused() {
            // When the job is run again, something has been done about it.
            client.enable("");
        }
        queue.close();
        status.blocks(Some("the last calls to end"));
        runtime.block_on(async {
            client.close();
            if !stop.is_aborted() {
                client.ended().await;
            }
        });
        // Calls that were aborted end with their runtime.
        drop(runtime);
        (watch.waits)();
        let (pending, pause) = driver.into_rest();
        status.blocks(Some(SOURCE));
        Ok((reader.end(pending, || stop.is_aborted()), pause))
    }
}
