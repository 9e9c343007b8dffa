//! Recordings to [`Exchange`]s: detects the format by content and reads one exchange at a time, so that a recording may be larger than
//! memory. `RECORDINGS.md` says what of each format is read. Knows nothing of filters, and what makes an exchange whole only through
//! `normal`.

mod access_log;
mod error;
mod har;
mod head;
mod input;
mod json;
pub(crate) mod jsonl;
mod normal;
mod tap;
pub(crate) mod time;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use self::error::TrafficError;
use self::head::Head;
use self::input::{ENTRY_BYTES, Input, Source};
pub use self::jsonl::{jsonl_schema, write_jsonl};
use crate::exchange::Exchange;

/// The formats, in the order in which they are tried.
const FORMATS: &[Format] =
    &[jsonl::FORMAT, har::FORMAT, tap::FORMAT, access_log::JSON_FORMAT, access_log::TEXT_FORMAT];

/// What a recording cannot say of itself.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// How an access log was written: Envoy's format string, or its `json_format` as a JSON object. Default: Envoy's and Istio's default
    /// formats, and JSON with the usual keys. Other recordings are read as what they are.
    pub access_log_format: Option<String>,
    /// The `:authority` of requests that were recorded without any. Default: such a request is an error.
    pub authority: Option<String>,
}

/// One recording format.
struct Format {
    name: &'static str,
    about: &'static str,
    detect: fn(&Head, &Options) -> bool,
    reader: Begin,
}

/// Begins reading a format; the error is about the access log format that was given.
type Begin = fn(&Head, &Options) -> Result<Box<dyn Reader>, String>;

/// Takes a recording apart.
trait Reader: Send {
    /// The next exchange; after an error that is not final, the next that is whole; nothing at the end. Not called again after either.
    fn next(&mut self, input: &mut Input, options: &Options) -> Option<Result<Exchange, TrafficError>>;
}

/// The formats that are read: name and what it is.
pub fn formats() -> impl Iterator<Item = (&'static str, &'static str)> {
    FORMATS.iter().map(|format| (format.name, format.about))
}

/// A recording being read. After an `Err` the iteration goes on with what is whole.
pub struct Recording {
    current: Option<Current>,
    rest: VecDeque<PathBuf>,
    format: &'static str,
    count: Arc<AtomicU64>,
    size: Option<u64>,
    options: Options,
    notes: Vec<String>,
}

struct Current {
    input: Input,
    reader: Box<dyn Reader>,
}

/// Opens a recording: a file, `-` for standard input, or a folder, whose files are read in the order in which they begin,
/// then of their names (hidden ones and folders in it are left out). Gzip is undone.
///
/// # Errors
/// It cannot be opened, is empty, or is no recording. Of a folder's files the iteration says so.
pub fn open(path: &Path, options: &Options) -> Result<Recording, TrafficError> {
    let mut recording = Recording::new(options);
    if path.is_dir() {
        let (files, size) = files(path, options)?;
        recording.rest = files;
        recording.size = Some(size);
        if recording.rest.is_empty() {
            return Err(TrafficError::not_a_recording(path, "an empty folder", "expected recordings in it"));
        }
    } else {
        recording.size = recording.begin_file(path)?;
    }
    Ok(recording)
}

/// Reads a recording from anything; errors and origins call it `name`.
///
/// # Errors
/// As [`open`].
pub fn read(
    name: &str,
    source: impl std::io::Read + Send + 'static,
    options: &Options,
) -> Result<Recording, TrafficError> {
    let mut recording = Recording::new(options);
    recording.begin(name, name, Box::new(source), ENTRY_BYTES)?;
    Ok(recording)
}

impl Recording {
    fn new(options: &Options) -> Self {
        Self {
            current: None,
            rest: VecDeque::new(),
            format: "",
            count: Arc::default(),
            size: None,
            options: options.clone(),
            notes: Vec::new(),
        }
    }

    fn begin_file(&mut self, path: &Path) -> Result<Option<u64>, TrafficError> {
        let standard_input = path.as_os_str() == "-";
        let file = if standard_input { "standard input".to_owned() } else { path.display().to_string() };
        let label = match path.file_name() {
            Some(name) if !standard_input => name.to_string_lossy().into_owned(),
            _ => file.clone(),
        };
        let (source, size) =
            input::open(path).map_err(|source| TrafficError::Read { file: file.clone(), source })?;
        self.begin(&file, &label, source, ENTRY_BYTES)?;
        Ok(size)
    }

    fn begin(&mut self, file: &str, label: &str, source: Source, limit: usize) -> Result<(), TrafficError> {
        let (input, head) = Input::begin(file, label, source, Arc::clone(&self.count), limit)
            .map_err(|source| TrafficError::Read { file: file.to_owned(), source })?;
        let head = Head::new(head);
        let refuse = |(found, hint): (String, String)| TrafficError::NotARecording {
            file: file.to_owned(),
            found,
            hint,
        };
        head.refuse_foreign().map_err(refuse)?;
        let detect = |head: &Head| FORMATS.iter().find(|format| (format.detect)(head, &self.options));
        // A recording whose first lines are broken is still one.
        let Some(format) = detect(&head).or_else(|| head.later_lines().find_map(|head| detect(&head))) else {
            return Err(refuse(head.explain_unknown()));
        };
        let reader = (format.reader)(&head, &self.options).map_err(TrafficError::AccessLogFormat)?;
        self.format = format.name;
        self.current = Some(Current { input, reader });
        Ok(())
    }

    /// The format that was found, as in [`formats`]; of a folder, that of the file being read, and empty before the first.
    #[must_use]
    pub fn format(&self) -> &'static str {
        self.format
    }

    /// How many bytes were taken from the files so far, gzip not undone.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// How many bytes there are; nothing for a pipe.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// What was noticed since the last call that is no error, such as keys of a log that mean nothing here; each said once a file.
    pub fn take_notes(&mut self) -> Vec<String> {
        if let Some(current) = &mut self.current {
            let file = &current.input.file;
            let prefix = format!("`{file}`: ");
            self.notes.extend(current.input.take_notes().into_iter().map(|note| prefix.clone() + &note));
        }
        std::mem::take(&mut self.notes)
    }
}

impl Iterator for Recording {
    type Item = Result<Exchange, TrafficError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(current) = &mut self.current {
                let item = current.reader.next(&mut current.input, &self.options);
                let ended = match &item {
                    None => true,
                    Some(Err(error)) => error.is_final(),
                    Some(Ok(_)) => false,
                };
                if ended {
                    self.notes = self.take_notes();
                    self.current = None;
                }
                if item.is_some() {
                    return item;
                }
            }
            let next = self.rest.pop_front()?;
            if let Err(error) = self.begin_file(&next) {
                return Some(Err(error));
            }
        }
    }
}

impl std::fmt::Debug for Recording {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recording")
            .field("format", &self.format)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

/// The files of a folder in the order in which their first exchanges began, then of their names, and how many bytes they have. Envoy names
/// its taps at random, and rotated logs count backwards.
fn files(folder: &Path, options: &Options) -> Result<(VecDeque<PathBuf>, u64), TrafficError> {
    let failed = |source| TrafficError::Read { file: folder.display().to_string(), source };
    let mut files = Vec::new();
    let mut size = 0;
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        let metadata = fs::metadata(&path).map_err(failed)?;
        if metadata.is_file() && !hidden {
            size += metadata.len();
            files.push(path);
        }
    }
    files.sort();
    files.sort_by_cached_key(|file| first_start(file, options));
    Ok((files.into(), size))
}

/// When the first exchange of a file began; nothing when it is broken or does not say.
fn first_start(file: &Path, options: &Options) -> Option<u64> {
    let mut recording = Recording::new(options);
    recording.begin_file(file).ok()?;
    recording.next()?.ok()?.start_ns
}

#[cfg(test)]
mod tests;
