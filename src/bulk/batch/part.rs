//! The files of a batch: its requests as the provider takes them, and its rows.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::row::BatchRow;
use crate::bulk::journal::of_io;
use crate::bulk::run::Calls;
use crate::catalog::Catalog;
use crate::client::{Call, expected_usage, max_tokens};
use crate::error::{Error, Result};
use crate::providers::{BatchRows, BatchRules, Deployment, Lookup, ask_for_structured_output};
use crate::types::secret::Secret;

/// Bytes of a batch beside its rows.
const ENVELOPE: usize = 4096;

/// Limits of a batch, beside those of its provider.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Number of rows.
    pub max_rows: Option<usize>,
    /// Number of input tokens, as they are estimated.
    pub max_tokens: Option<u64>,
    /// Cost in US dollars, as it is estimated.
    pub max_cost: Option<f64>,
}

/// A batch whose files are written, and on the disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// Its number, from 1.
    pub number: u32,
    /// Name of the provider.
    pub provider: &'static str,
    /// The model as the job names it, with the provider or by an alias.
    pub name: String,
    /// The model as the provider knows it.
    pub model: String,
    /// The path that its rows call, as OpenAI's batches name it.
    pub endpoint: String,
    /// Number of its rows.
    pub rows: usize,
    /// Size of its requests, in bytes.
    pub bytes: usize,
    /// Estimate of its input tokens.
    pub tokens: u64,
    /// Estimate of its cost in US dollars; `None` if a price is not known.
    pub cost: Option<f64>,
    /// Cost of answers of its rows that did not fit the schema.
    pub carried: f64,
    /// Header field that its rows share, and its value.
    pub header: Option<(&'static str, String)>,
    /// What tells whose the batch is.
    pub lookup: Lookup,
    /// True if the provider reads its rows from an uploaded file.
    pub takes_file: bool,
}

/// Batches that are not full, by their model and operation.
pub(super) type OpenParts = HashMap<(Arc<str>, &'static str), OpenPart>;

/// A batch whose files are being written.
pub(super) struct OpenPart {
    part: Part,
    rules: BatchRules,
    header: BTreeSet<String>,
    requests: BufWriter<File>,
    rows: BufWriter<File>,
}

/// The files of batches.
pub(super) struct Parts {
    folder: PathBuf,
    /// Beginning of the ids of all rows.
    tag: String,
    next: u32,
    catalog: Option<Arc<Catalog>>,
    open: OpenParts,
    pub limits: Limits,
}

/// Returns the format of a deployment's batches.
///
/// # Errors
///
/// Its provider has none.
pub(super) fn form_of(deployment: &Deployment) -> Result<&'static dyn BatchRows> {
    deployment.provider.batch_rows().ok_or_else(|| {
        let name = deployment.provider.row().name;
        Error::argument(format!("{name} has no batches: mode=\"calls\" would be right")).unsent()
    })
}

/// A row's request: its line, and what counts towards the limits of its batch.
struct Request {
    line: Vec<u8>,
    header: Option<String>,
    tokens: u64,
    cost: Option<f64>,
}

impl Parts {
    /// Opens the folder. Files of batches that are not known are removed.
    pub fn open(folder: PathBuf, tag: String, known: &[u32], next: u32, catalog: Option<Arc<Catalog>>) -> Result<Self> {
        let clean = || -> io::Result<()> {
            fs::create_dir_all(&folder)?;
            for entry in fs::read_dir(&folder)? {
                let name = entry?.file_name();
                let name = name.to_string_lossy();
                let number: Option<u32> = name.split('.').next().and_then(|number| number.parse().ok());
                if number.is_some_and(|number| !known.contains(&number)) {
                    fs::remove_file(folder.join(&*name))?;
                }
            }
            Ok(())
        };
        clean().map_err(|error| of_io("use", &folder, &error))?;
        Ok(Self { folder, tag, next, catalog, open: HashMap::new(), limits: Limits::default() })
    }

    pub fn rows_path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:05}.rows"))
    }

    fn requests_path(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number:05}.requests"))
    }

    /// Returns the place of a row in a batch, by its id at the provider.
    pub fn index_of(&self, number: u32, id: &str) -> Option<usize> {
        let rest = id.strip_prefix(&self.tag)?.strip_prefix('-')?;
        let (part, index) = rest.split_once('-')?;
        (part.parse() == Ok(number)).then(|| index.parse().ok())?
    }

    /// Adds a row to the batch of its model. Returns that batch if the row did not fit into it and it is whole now; the row is
    /// in the next one then. The inner error is that of a row that cannot be sent.
    ///
    /// # Errors
    ///
    /// The files cannot be written.
    pub fn add(&mut self, row: &BatchRow, calls: &mut Calls) -> Result<Result<Option<Part>>> {
        let mut call = match calls.make(row.call.clone()) {
            Ok(work) => work.call,
            Err(error) => return Ok(Err(error)),
        };
        let form = match form_of(&call.deployment) {
            Ok(form) => form,
            Err(error) => return Ok(Err(error)),
        };
        let rules = form.rules();
        let group = (row.call.model.clone().unwrap_or_default(), row.call.operation.spec().name);
        let (number, index) = match self.open.get(&group) {
            Some(open) => (open.part.number, open.part.rows),
            None => (self.next, 0),
        };
        let mut request = match self.request(form, &rules, &mut call, number, index) {
            Ok(request) => request,
            Err(error) => return Ok(Err(error)),
        };
        if request.line.len() + ENVELOPE > rules.max_bytes {
            let message = format!("the row has {} bytes, and a batch at most {}", request.line.len(), rules.max_bytes);
            return Ok(Err(Error::argument(message).unsent()));
        }
        let limits = self.limits;
        let full = match self.open.get(&group) {
            Some(open) if !open.has_room(&request, &limits) => {
                let part = self.close(&group)?;
                // The number and the place are part of its id.
                request = match self.request(form, &rules, &mut call, self.next, 0) {
                    Ok(request) => request,
                    Err(error) => return Ok(Err(error)),
                };
                part
            }
            _ => None,
        };
        if !self.open.contains_key(&group) {
            let part = Part {
                number: self.next,
                provider: call.deployment.provider.row().name,
                name: group.0.to_string(),
                model: call.deployment.model.to_string(),
                endpoint: form.endpoint(row.call.operation),
                rows: 0,
                bytes: 0,
                tokens: 0,
                cost: Some(0.0),
                carried: 0.0,
                header: None,
                lookup: rules.lookup,
                takes_file: rules.takes_file,
            };
            let files = (self.requests_path(self.next), self.rows_path(self.next));
            let create = |path: &PathBuf| private(path).map_err(|error| of_io("create", path, &error));
            let (requests, rows) = (create(&files.0)?, create(&files.1)?);
            let (requests, rows) =
                (BufWriter::with_capacity(1 << 18, requests), BufWriter::with_capacity(1 << 18, rows));
            self.next += 1;
            self.open.insert(group.clone(), OpenPart { part, rules, header: BTreeSet::new(), requests, rows });
        }
        let open = self.open.get_mut(&group).expect("it was just put there");
        let path = self.folder.join(format!("{:05}", open.part.number));
        open.add(row, &request).map_err(|error| of_io("write", &path, &error))?;
        Ok(Ok(full))
    }

    /// Returns the request of a row.
    fn request(
        &self,
        form: &'static dyn BatchRows,
        rules: &BatchRules,
        call: &mut Call,
        number: u32,
        index: usize,
    ) -> Result<Request> {
        let operation = call.request.operation;
        if !rules.operations.contains(&operation) {
            let (name, noun) = (call.deployment.provider.row().name, operation.spec().noun);
            return Err(
                Error::argument(format!("{name} has no batches of {noun}: mode=\"calls\" would be right")).unsent()
            );
        }
        if call.request.structured.is_some() {
            ask_for_structured_output(&call.deployment, &mut call.request);
        }
        if call.deployment.api_key.is_none() && call.callbacks.is_some() {
            // It is asked for when the batch is made, and is in no row.
            call.deployment.api_key = Some(Secret::new("-"));
        }
        let endpoint = call.deployment.endpoint(&call.request)?;
        if !endpoint.parts(&call.request)?.is_empty() {
            return Err(Error::argument("the row has more inputs than a request of a batch takes").unsent());
        }
        let encoded = endpoint.encode(&call.deployment, &call.request)?.request;
        let mut line = Vec::with_capacity(encoded.body.len() + 128);
        form.encode(&format!("{}-{number}-{index}", self.tag), operation, &encoded.body, &mut line);
        let header = rules.shared_header.and_then(|name| {
            let value = encoded.headers.iter().find(|(known, _)| known == name)?.1.to_str().ok()?;
            Some(value.to_owned())
        });
        let usage = expected_usage(operation, &call.request.params, max_tokens(&call.request.params));
        let price = self.catalog.as_ref().and_then(|catalog| {
            catalog.find(call.deployment.provider.row().name, &call.deployment.model)?.cost(&usage, now())
        });
        Ok(Request {
            line,
            header,
            tokens: usage.all_input(),
            cost: price.zip(rules.price).map(|(price, part)| price * part),
        })
    }

    /// Takes the batches that are not full, so that others begin. Given back, they are filled on.
    pub fn swap_open(&mut self, open: OpenParts) -> OpenParts {
        std::mem::replace(&mut self.open, open)
    }

    /// Ends all batches that are not full.
    ///
    /// # Errors
    ///
    /// Their files cannot be written.
    pub fn close_all(&mut self) -> Result<Vec<Part>> {
        std::iter::from_fn(|| self.close_one().transpose()).collect()
    }

    /// Ends one of the batches that are not full.
    ///
    /// # Errors
    ///
    /// Its files cannot be written.
    pub fn close_one(&mut self) -> Result<Option<Part>> {
        let first = self.open.iter().min_by_key(|(_, open)| open.part.number).map(|(group, _)| group.clone());
        first.map_or(Ok(None), |group| self.close(&group))
    }

    fn close(&mut self, group: &(Arc<str>, &'static str)) -> Result<Option<Part>> {
        let Some(mut open) = self.open.remove(group) else { return Ok(None) };
        let path = self.folder.join(format!("{:05}", open.part.number));
        open.end(&self.folder).map_err(|error| of_io("write", &path, &error))?;
        if let Some(name) = open.rules.shared_header.filter(|_| !open.header.is_empty()) {
            let values: Vec<String> = open.header.into_iter().collect();
            open.part.header = Some((name, values.join(",")));
        }
        Ok(Some(open.part))
    }
}

impl OpenPart {
    fn has_room(&self, request: &Request, limits: &Limits) -> bool {
        let part = &self.part;
        let max_rows = limits.max_rows.map_or(self.rules.max_rows, |rows| rows.min(self.rules.max_rows));
        let cost = part.cost.zip(request.cost).map(|(one, other)| one + other);
        part.rows < max_rows
            && part.bytes + request.line.len() + 2 + ENVELOPE <= self.rules.max_bytes
            && limits.max_tokens.is_none_or(|most| part.tokens + request.tokens <= most)
            && limits.max_cost.zip(cost).is_none_or(|(most, cost)| cost <= most)
    }

    fn add(&mut self, row: &BatchRow, request: &Request) -> io::Result<()> {
        let is_list = !self.rules.takes_file;
        let separator: &[u8] = if is_list && self.part.rows > 0 { b",\n" } else { b"" };
        self.requests.write_all(separator)?;
        self.requests.write_all(&request.line)?;
        let end: &[u8] = if is_list { b"" } else { b"\n" };
        self.requests.write_all(end)?;
        let mut line = Vec::with_capacity(request.line.len() + 256);
        row.encode(&mut line);
        self.rows.write_all(&line)?;
        let part = &mut self.part;
        part.rows += 1;
        part.bytes += separator.len() + request.line.len() + end.len();
        part.tokens += request.tokens;
        part.cost = part.cost.zip(request.cost).map(|(one, other)| one + other);
        part.carried += row.cost.unwrap_or_default();
        self.header.extend(request.header.iter().flat_map(|value| value.split(',').map(str::to_owned)));
        Ok(())
    }

    /// Puts the files on the disk.
    fn end(&mut self, folder: &std::path::Path) -> io::Result<()> {
        for file in [&mut self.requests, &mut self.rows] {
            file.flush()?;
            file.get_ref().sync_all()?;
        }
        // Windows has no handle of a folder to do this with.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

/// Creates a file that only this user can read.
fn private(path: &PathBuf) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Returns the time in seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
