//! The bytes of one recording: a buffered reader that counts, peeks, hands out lines and undoes gzip. Knows no format.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much of a recording detection looks at.
pub(super) const HEAD_BYTES: usize = 64 * 1024;

/// The most that one line or entry may take; a longer one is an error of its own and is skipped without being kept. Room for a body of
/// 32 MiB in base64 and its headers.
pub(super) const ENTRY_BYTES: usize = 64 * 1024 * 1024;

const BUFFER_BYTES: usize = 256 * 1024;

/// Where the bytes of a recording come from.
pub(super) type Source = Box<dyn Read + Send>;

/// The bytes of one recording.
pub(super) struct Input {
    /// The recording as errors name it.
    pub(super) file: String,
    /// The recording as origins name it: without its folder, so that reports do not depend on where it lies.
    pub(super) label: String,
    reader: BufReader<Source>,
    limit: usize,
    notes: Vec<String>,
}

/// What [`Input::line`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line that ends in a line feed.
    Whole,
    /// The last line, without a line feed.
    Last,
    /// A line over the limit; it is skipped and not in the buffer.
    TooLong,
    /// No more lines.
    End,
}

impl Input {
    /// Begins a recording; undoes gzip, however often it was applied in a row to parts. Returns the head for detection too: up to
    /// [`HEAD_BYTES`] that remain to be read.
    ///
    /// # Errors
    /// What the source says.
    pub(super) fn begin(
        file: &str,
        label: &str,
        source: Source,
        count: Arc<AtomicU64>,
        limit: usize,
    ) -> io::Result<(Self, Vec<u8>)> {
        let (head, source) = peek(Box::new(Counted { source, count }), 2)?;
        let source: Source =
            if head == [0x1f, 0x8b] { Box::new(flate2::read::MultiGzDecoder::new(source)) } else { source };
        let (mut head, source) = peek(source, HEAD_BYTES)?;
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, source);
        if head.starts_with(&[0xef, 0xbb, 0xbf]) {
            head.drain(..3);
            reader.read_exact(&mut [0; 3])?;
        }
        Ok((Self { file: file.to_owned(), label: label.to_owned(), reader, limit, notes: Vec::new() }, head))
    }

    /// The most that one line or entry may take.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// The bytes at hand; empty at the end only.
    ///
    /// # Errors
    /// What the source says.
    pub(super) fn chunk(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.reader.fill_buf() {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.reader.buffer())
    }

    /// Takes `count` of the bytes at hand.
    pub(super) fn consume(&mut self, count: usize) {
        self.reader.consume(count);
    }

    /// Reads one line into `line`, without its line end (LF or CR LF).
    ///
    /// # Errors
    /// What the source says.
    pub(super) fn line(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let limit = self.limit;
        let mut found = Line::End;
        loop {
            let chunk = self.chunk()?;
            if chunk.is_empty() {
                return Ok(found);
            }
            let end = memchr::memchr(b'\n', chunk);
            let part = &chunk[..end.unwrap_or(chunk.len())];
            if found != Line::TooLong {
                found = if line.len() + part.len() > limit { Line::TooLong } else { Line::Last };
            }
            if found == Line::TooLong {
                line.clear();
            } else {
                line.extend_from_slice(part);
            }
            let taken = part.len() + usize::from(end.is_some());
            self.consume(taken);
            if end.is_some() {
                if line.last() == Some(&b'\r') {
                    line.pop();
                }
                return Ok(if found == Line::TooLong { found } else { Line::Whole });
            }
        }
    }

    /// Remembers something that the reader of the report should know, once.
    pub(super) fn note(&mut self, note: impl FnOnce() -> String) {
        if self.notes.len() < 20 {
            let note = note();
            if !self.notes.contains(&note) {
                self.notes.push(note);
            }
        }
    }

    /// What was noted since the last call.
    pub(super) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

/// Opens a file, or standard input for `-`; with its size where that is known.
///
/// # Errors
/// What the operating system says.
pub(super) fn open(path: &std::path::Path) -> io::Result<(Source, Option<u64>)> {
    if path.as_os_str() == "-" {
        return Ok((Box::new(io::stdin()), None));
    }
    let file = File::open(path)?;
    let size = file.metadata().ok().filter(|metadata| metadata.is_file()).map(|metadata| metadata.len());
    Ok((Box::new(file), size))
}

/// Looks at up to `count` bytes and gives them back in front of the rest. A failure behind the first byte is left for when it is reached.
fn peek(mut source: Source, count: usize) -> io::Result<(Vec<u8>, Source)> {
    let mut head = Vec::new();
    if let Err(error) = source.by_ref().take(count as u64).read_to_end(&mut head) {
        if head.is_empty() {
            return Err(error);
        }
        source = Box::new(Failed(Some(error)));
    }
    let whole = Box::new(Cursor::new(head.clone()).chain(source));
    Ok((head, whole))
}

/// A source that has failed.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Counts what is read, for the progress bar.
struct Counted {
    source: Source,
    count: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
