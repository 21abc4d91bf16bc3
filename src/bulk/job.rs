//! A job: its folder, its rows and what they ask for; from there to a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use serde_json::{Map, Value};

use super::export::{RowId, RowName};
use super::identity::{Identities, Key, key_of_bad};
use super::journal::{self, Change, Durability, Journal, Manifest, Reader};
use super::row::{Row, Source};
use super::run::{Calls, Input, Pause, Prepare, RowObserver, Run, SOURCE, State, Status, Stop, Watch};
use super::scan::{Extent, Scan, scan};
use super::schedule::{self, Halt};
use super::template::Template;
use crate::client::Settings;
use crate::error::{Error, Result};

/// Room for the outcomes of calls in flight, in bytes, of a job whose folder is thrown away.
const UNSYNCED_RESERVE: u64 = 1 << 20;

/// Opens the rows of a job from the beginning.
pub type OpenRows = Arc<dyn Fn() -> Result<Box<dyn Source>> + Send + Sync>;

/// Returns the body that a row's JSON asks for.
pub type MapRow = Arc<dyn Fn(&[u8]) -> Result<Bytes, String> + Send + Sync>;

/// A job.
pub struct Job {
    /// Its folder.
    pub folder: PathBuf,
    /// Its rows, if they can be read more than once.
    pub rows: Option<OpenRows>,
    /// The user's function from a row to the one that the template gets, if there is one.
    pub map: Option<MapRow>,
    /// What they ask for.
    pub template: Arc<Template>,
    /// The parameters that its answers depend on.
    pub parameters: Map<String, Value>,
    /// Description of the input for the manifest.
    pub input: Value,
    /// What an outcome that has landed survives.
    pub durability: Durability,
    /// True if rows that ask for the same are one call.
    pub dedupe: bool,
    /// Hash of what rows ask for beside what is in their calls, such as a schema.
    pub salt: u64,
    /// True if rows run again when the parameters are not as they were.
    pub reruns: bool,
}

/// How a job is run.
pub struct RunOptions {
    /// Settings of its client.
    pub settings: Settings,
    /// Bounds.
    pub schedule: schedule::Options,
    /// True if rows that ended as errors run again.
    pub retry_failed: bool,
    /// Functions that are called when the thread of the calls waits and works.
    pub watch: Watch,
    /// Observer of the rows' outcomes.
    pub observer: Option<Arc<dyn RowObserver>>,
}

/// Where a run gets its rows from.
pub enum Rows {
    /// They are read from the beginning. What is done is left out.
    Again(Calls),
    /// They go on where the last run has stopped.
    Rest(Box<Input>),
}

impl Rows {
    /// Returns the rows for another run, if they can be read only once.
    pub fn into_rest(self) -> Option<Input> {
        match self {
            Self::Again(_) => None,
            Self::Rest(input) => Some(*input),
        }
    }
}

/// End of a run.
pub struct Ended {
    /// What is left of rows that can be read only once.
    pub rest: Option<Input>,
    /// Why rows are pending, if some are.
    pub pause: Option<Pause>,
}

impl Job {
    /// Runs the job on this thread. `opened` gets a reader of the outcomes that come.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, the parameters are not as they were, the input cannot be read, or two of its rows have the
    /// same id. No call was made.
    pub fn run(
        &self,
        rows: Rows,
        options: RunOptions,
        status: &Arc<Status>,
        stop: &Arc<Stop>,
        opened: impl FnOnce(Reader),
    ) -> Result<Ended> {
        let (journal, manifest) = match self.open_journal(status, opened) {
            Ok(opened) => opened,
            Err(error) => {
                status.update(|status| status.state = State::Paused);
                let pause = Pause { halt: Halt::Journal, error: Some(error) };
                return Ok(Ended { rest: rows.into_rest(), pause: Some(pause) });
            }
        };
        let Some((mut manifest, input)) = self.begin(rows, manifest, &journal, status, stop)? else {
            return Ok(Ended { rest: None, pause: Some(Pause::stopped()) });
        };
        let run = Run {
            settings: options.settings,
            input,
            journal: journal.clone(),
            options: options.schedule,
            retry_failed: options.retry_failed,
            dedupe: self.dedupe,
            watch: options.watch,
            observer: options.observer,
            is_eager: self.rows.is_some(),
        };
        let (rest, pause) = run.run(status, stop)?;
        let finished = self.finish(journal, &mut manifest, status);
        let pause = match pause {
            // The first reason stays.
            Some(pause) => Some(pause),
            None => finished.err().map(Pause::journal),
        };
        // An iterator that has raised an exception gives no more rows: they would be taken for all.
        let can_go_on = self.rows.is_none() && !pause.as_ref().is_some_and(|pause| pause.halt == Halt::Input);
        Ok(Ended { rest: rest.filter(|_| can_go_on), pause })
    }

    /// Opens the journal. `opened` gets a reader of the outcomes that come.
    ///
    /// # Errors
    ///
    /// The folder cannot be used, another process runs the job, or the parameters are not as they were.
    pub fn open_journal(&self, status: &Status, opened: impl FnOnce(Reader)) -> Result<(Arc<Journal>, Manifest)> {
        let mut options_of_journal = journal::Options { durability: self.durability, ..journal::Options::default() };
        if self.durability == Durability::Unsynced {
            // Workers of Ray, Dask and Spark are killed when they are not needed, and leave their folders behind.
            options_of_journal.reserve = UNSYNCED_RESERVE;
        }
        status.blocks(Some("the disk: opening the journal"));
        let journal = Arc::new(Journal::open(&self.folder, &options_of_journal)?);
        opened(journal.reader());
        let counts = journal.counts();
        if let Some(manifest) = journal.manifest() {
            self.check(manifest, counts.done + counts.failed)?;
        }
        let manifest = match journal.manifest() {
            Some(manifest) => Manifest { parameters: self.parameters.clone(), ..manifest.clone() },
            None => Manifest::new(self.parameters.clone(), self.input.clone(), now()),
        };
        Ok((journal, manifest))
    }

    /// Begins with the rows: those that can be read again are read once before. `None` if the job was stopped meanwhile.
    ///
    /// # Errors
    ///
    /// Those of [`run`](Self::run).
    pub fn begin(
        &self,
        rows: Rows,
        mut manifest: Manifest,
        journal: &Journal,
        status: &Arc<Status>,
        stop: &Arc<Stop>,
    ) -> Result<Option<(Manifest, Input)>> {
        let input = match rows {
            Rows::Rest(input) => *input,
            Rows::Again(calls) => {
                blocks(status, journal, SOURCE);
                let scan = self.scan(Extent::Whole, |rows| {
                    status.blocks(Some(SOURCE));
                    status.update(|status| (status.state, status.read) = (State::Scanning, rows));
                    !stop.is_stopped()
                });
                let scan = match scan {
                    Err(_) if stop.is_stopped() => return Ok(None),
                    scan => scan?,
                };
                manifest.rows = Some(scan.rows);
                let rows = scan.rows;
                status.update(|status| (status.state, status.read, status.rows) = (State::Running, 0, Some(rows)));
                self.input(self.open()?, calls, scan.identities())
            }
        };
        blocks(status, journal, "the disk: storing the manifest");
        manifest.store(&self.folder, self.durability)?;
        Ok(Some((manifest, input)))
    }

    /// Stores the numbers of a run that has ended, and closes its journal.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn finish(&self, journal: Arc<Journal>, manifest: &mut Manifest, status: &Status) -> Result<()> {
        blocks(status, &journal, "the disk: closing the journal");
        let counts = journal.counts();
        (manifest.done, manifest.failed, manifest.totals) = (counts.done, counts.failed, journal.totals());
        manifest.written = now();
        let stored = manifest.store(&self.folder, self.durability);
        let closed = Arc::into_inner(journal).map_or(Ok(()), Journal::close);
        closed.and(stored)
    }

    /// Returns the rows of a job that are read for the first time.
    pub fn input(&self, source: Box<dyn Source>, calls: Calls, identities: Identities) -> Input {
        Input::new(self.mapped(source), prepare(self.template.clone(), identities, self.salt), calls)
    }

    /// Looks whether the folder belongs to a job with these parameters.
    ///
    /// # Errors
    ///
    /// It belongs to another one, or cannot be read.
    pub fn check_folder(&self) -> Result<()> {
        let Some(manifest) = Manifest::load(&self.folder)? else { return Ok(()) };
        match self.changes(&manifest).is_empty() {
            true => Ok(()),
            false => {
                let counts = Reader::open(&self.folder)?.counts();
                self.check(&manifest, counts.done + counts.failed)
            }
        }
    }

    fn changes(&self, manifest: &Manifest) -> Vec<Change> {
        if self.reruns { Vec::new() } else { manifest.changes(&self.parameters) }
    }

    fn check(&self, manifest: &Manifest, rows: u64) -> Result<()> {
        let changes = self.changes(manifest);
        if changes.is_empty() || rows == 0 {
            return Ok(());
        }
        let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "not set".to_owned(), short);
        let changes: Vec<String> = changes
            .iter()
            .map(|change| format!("{} was {} and is {}", change.name, shown(&change.old), shown(&change.new)))
            .collect();
        let message = format!(
            "the job in {} has other parameters: {}. With them, {rows} rows that have outcomes run again: on_change=\"rerun\" \
             does that; another out= keeps both",
            self.folder.display(),
            changes.join("; "),
        );
        Err(Error::argument(message).unsent())
    }

    /// Reads the rows, or the first of them, before any call.
    ///
    /// # Errors
    ///
    /// They cannot be read, two have the same id and ask for different things, or `progress` returned false.
    pub fn scan(&self, extent: Extent, progress: impl FnMut(u64) -> bool) -> Result<Scan> {
        scan(&mut *self.mapped(self.open()?), &self.template, self.dedupe, extent, progress)
    }

    /// Returns the names of the rows, in their order.
    ///
    /// # Errors
    ///
    /// The rows cannot be read again.
    pub fn names(&self) -> Result<impl Iterator<Item = Result<RowName>> + Send + use<>> {
        let mut source = self.open()?;
        let mut name_of = self.name_of();
        let mut name = move |row: Row| {
            let (key, id) = name_of(&row);
            RowName { key, id: Some(id.map_or(RowId::Numbered, RowId::Own)) }
        };
        Ok(std::iter::from_fn(move || source.next().map(|row| row.map(&mut name)).transpose()))
    }

    /// Returns the function from a row to its key and its own id.
    pub(super) fn name_of(&self) -> NameOf {
        let (template, map) = (self.template.clone(), self.map.clone());
        let (mut identities, salt) = (Identities::new(self.dedupe), self.salt);
        Box::new(move |row: &Row| {
            let mapped = |json: &Bytes| match &map {
                Some(map) => map(json).ok(),
                None => Some(json.clone()),
            };
            let json = row.json.as_ref().ok().and_then(mapped);
            let call = json.and_then(|json| template.call(&json, &row.place).ok());
            let named = call.and_then(|call| Some((identities.key(&call).ok()?, call.id)));
            let (key, id) = named.unwrap_or_else(|| (key_of_bad(&row.place), None));
            (salted(key, salt), id)
        })
    }

    /// Returns rows as the template gets them.
    fn mapped(&self, source: Box<dyn Source>) -> Box<dyn Source> {
        match &self.map {
            Some(map) => Box::new(Mapped { source, map: map.clone() }),
            None => source,
        }
    }

    /// Opens the rows from the beginning.
    ///
    /// # Errors
    ///
    /// They cannot be read again.
    pub fn open(&self) -> Result<Box<dyn Source>> {
        match &self.rows {
            Some(open) => open(),
            None => Err(Error::argument("the rows of an iterator can be read only once").unsent()),
        }
    }

    /// Returns a reader of the outcomes as they are now.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn reader(&self) -> Result<Reader> {
        Reader::open(&self.folder)
    }
}

/// Notes what the job's thread waits for, before something that may block it.
fn blocks(status: &Status, journal: &Journal, what: &'static str) {
    status.blocks(Some(what));
    journal.notes().note(what, Duration::ZERO);
}

/// Returns the function from a row to its key and to what it asks for.
fn prepare(template: Arc<Template>, mut identities: Identities, salt: u64) -> Prepare {
    Box::new(move |row: Row| {
        let Row { place, json, .. } = row;
        let call = match json.and_then(|json| template.call(&json, &place)) {
            Ok(call) => call,
            Err(error) => return (salted(key_of_bad(&place), salt), Err(error)),
        };
        match identities.key(&call) {
            Ok(key) => (salted(key, salt), Ok(call)),
            Err(conflict) => (salted(key_of_bad(&place), salt), Err(conflict.error(&call, &place))),
        }
    })
}

/// Returns the key of a row that asks for something more than its call says.
fn salted(key: Key, salt: u64) -> Key {
    Key { content: key.content ^ salt, ..key }
}

/// Function from a row to its key and its own id.
pub(super) type NameOf = Box<dyn FnMut(&Row) -> (Key, Option<Box<str>>) + Send>;

/// Rows that a user's function has changed.
struct Mapped {
    source: Box<dyn Source>,
    map: MapRow,
}

impl Source for Mapped {
    fn next(&mut self) -> Result<Option<Row>> {
        let Some(row) = self.source.next()? else { return Ok(None) };
        let json = row.json.and_then(|json| (self.map)(&json).map_err(|what| row.place.error(what)));
        Ok(Some(Row { json, ..row }))
    }

    fn progress(&self) -> Option<f64> {
        self.source.progress()
    }
}

/// Returns the time in seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// Returns a value for a message.
fn short(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
