//! The lines of an export around its events: written and read as a stream.

use std::io::{self, BufRead, Read, Write};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    ExportError,
    line::{LineReader, write_event},
};
use crate::{EventRow, Position};

/// Of the lines. It rises when a reader of older exports could not read on.
pub const FORMAT: u32 = 2;
/// Longest line that is written or read, in bytes.
const LINE: u64 = 64 << 20;

/// The first line: what the export is of. It has only what every copy of the log has too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub format: u32,
    /// The log's id, which a copy takes over.
    pub log: Uuid,
    /// Position of the first event, or of the next one where there is none.
    pub from: Position,
}

/// The last line: what stands before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Events.
    pub count: u64,
    pub first: Option<Position>,
    pub last: Option<Position>,
    /// BLAKE3 of every byte before the manifest's line, in 64 hexadecimal digits.
    pub digest: String,
    /// Whether the log is sealed and this is its end: no event will ever follow.
    pub sealed: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Frame {
    Header(Header),
    Manifest(Manifest),
}

/// Bytes that are hashed at once: BLAKE3 works on many kilobytes side by side, and on a line it cannot.
const HASHED: usize = 64 << 10;

/// The digest of what has passed so far.
#[derive(Default)]
struct Digest {
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

impl Digest {
    fn update(&mut self, line: &[u8]) {
        self.waiting.extend_from_slice(line);
        if self.waiting.len() >= HASHED {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
    }

    fn hex(&mut self) -> String {
        self.hasher.update(&self.waiting);
        self.waiting.clear();
        self.hasher.finalize().to_hex().to_string()
    }
}

/// Writes an export, line by line.
pub struct ExportWriter<W> {
    out: W,
    digest: Digest,
    line: Vec<u8>,
    count: u64,
    first: Option<Position>,
    last: Option<Position>,
}

impl<W: Write> ExportWriter<W> {
    /// Writes the header.
    pub fn begin(out: W, log: Uuid, from: Position) -> Result<ExportWriter<W>, ExportError> {
        let mut writer =
            ExportWriter { out, digest: Digest::default(), line: Vec::new(), count: 0, first: None, last: None };
        let header = Frame::Header(Header { format: FORMAT, log, from });
        writer.line = serde_json::to_vec(&header).map_err(io::Error::from).map_err(ExportError::Written)?;
        writer.put()?;
        Ok(writer)
    }

    pub fn event(&mut self, row: &EventRow) -> Result<(), ExportError> {
        self.line.clear();
        let refuse = |why: String| ExportError::Event { position: row.position, reason: why };
        write_event(&mut self.line, row).map_err(refuse)?;
        if self.line.len() as u64 >= LINE {
            return Err(refuse(format!("its line has {} bytes, and {LINE} at most are read", self.line.len())));
        }
        self.put()?;
        self.count += 1;
        self.first.get_or_insert(row.position);
        self.last = Some(row.position);
        Ok(())
    }

    /// Writes the manifest and hands all to the system.
    pub fn finish(mut self, sealed: bool) -> Result<Manifest, ExportError> {
        let digest = self.digest.hex();
        let manifest = Manifest { count: self.count, first: self.first, last: self.last, digest, sealed };
        let frame = Frame::Manifest(manifest.clone());
        self.line = serde_json::to_vec(&frame).map_err(io::Error::from).map_err(ExportError::Written)?;
        self.put()?;
        self.out.flush().map_err(ExportError::Written)?;
        Ok(manifest)
    }

    fn put(&mut self) -> Result<(), ExportError> {
        self.line.push(b'\n');
        self.digest.update(&self.line);
        self.out.write_all(&self.line).map_err(ExportError::Written)
    }
}

/// Reads an export, line by line.
pub struct ExportReader<R> {
    input: R,
    header: Header,
    digest: Digest,
    buffer: Vec<u8>,
    /// Of the line in the buffer, from 1.
    number: u64,
    lines: LineReader,
    count: u64,
    manifest: Option<Manifest>,
}

impl<R: BufRead> ExportReader<R> {
    /// Reads the header.
    pub fn open(input: R) -> Result<ExportReader<R>, ExportError> {
        let mut reader = ExportReader {
            input,
            header: Header { format: FORMAT, log: Uuid::nil(), from: 1 },
            digest: Digest::default(),
            buffer: Vec::new(),
            number: 0,
            lines: LineReader::default(),
            count: 0,
            manifest: None,
        };
        if !reader.next_line()? {
            return Err(reader.unfit("the file is empty: it is no export of events"));
        }
        reader.header = reader.read_header()?;
        reader.digest.update(&reader.buffer);
        Ok(reader)
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// Number of the line that was read last, from 1.
    pub fn line(&self) -> u64 {
        self.number
    }

    /// The next event; none when the manifest was reached and all before it is as it says.
    pub fn next_event(&mut self) -> Result<Option<EventRow>, ExportError> {
        if self.manifest.is_some() {
            return Ok(None);
        }
        if !self.next_line()? {
            return Err(self.unfit("the export ends here without its manifest: it was cut short. Export it again"));
        }
        if self.buffer.last() != Some(&b'\n') {
            return Err(self.unfit("the line has no end: the export was cut short. Export it again"));
        }
        if self.buffer.starts_with(b"{\"manifest\":") {
            let manifest = self.read_manifest()?;
            self.check(&manifest)?;
            self.manifest = Some(manifest);
            return Ok(None);
        }
        self.digest.update(&self.buffer);
        let text = str::from_utf8(&self.buffer[..self.buffer.len() - 1]);
        let event = match text {
            Ok(text) => self.lines.event(text),
            Err(error) => Err(format!("it is not UTF-8: {error}")),
        };
        let event = event.map_err(|why| self.unfit(why))?;
        let due = self.header.from + self.count;
        if event.position != due {
            return Err(self.unfit(format!("event {} stands where event {due} is due", event.position)));
        }
        self.count += 1;
        Ok(Some(event))
    }

    /// The manifest, once [`ExportReader::next_event`] gave none.
    pub fn manifest(self) -> Option<Manifest> {
        self.manifest
    }

    fn unfit(&self, why: impl Into<String>) -> ExportError {
        ExportError::Line { line: self.number, reason: why.into() }
    }

    /// Reads a line into the buffer, its end included; false at the end of the file.
    fn next_line(&mut self) -> Result<bool, ExportError> {
        self.buffer.clear();
        self.number += 1;
        let read = self.input.by_ref().take(LINE).read_until(b'\n', &mut self.buffer).map_err(ExportError::Read)?;
        if read as u64 == LINE && self.buffer.last() != Some(&b'\n') {
            return Err(self.unfit(format!("the line is longer than {LINE} bytes: it is no event")));
        }
        Ok(read > 0)
    }

    fn read_header(&self) -> Result<Header, ExportError> {
        /// Known before the rest, which another format may have in another shape.
        #[derive(Deserialize)]
        struct Any {
            header: AnyHeader,
        }
        #[derive(Deserialize)]
        struct AnyHeader {
            format: u32,
        }
        let no_header = |error: serde_json::Error| {
            self.unfit(format!("it is not the header of an export ({error}); `tiffin events export` writes one"))
        };
        let any: Any = serde_json::from_slice(&self.buffer).map_err(no_header)?;
        match any.header.format {
            FORMAT => {}
            newer if newer > FORMAT => {
                return Err(self.unfit(format!(
                    "the export has the format {newer}, and this program reads {FORMAT}: use a newer tiffin"
                )));
            }
            other => return Err(self.unfit(format!("the export has the format {other}, which there never was"))),
        }
        match serde_json::from_slice(&self.buffer).map_err(no_header)? {
            Frame::Header(Header { from, .. }) if from == 0 || from > i64::MAX as u64 => {
                Err(self.unfit(format!("an export begins at event 1 or later, not at {from}")))
            }
            Frame::Header(header) => Ok(header),
            Frame::Manifest(_) => Err(self.unfit("a manifest stands where the header is due")),
        }
    }

    fn read_manifest(&self) -> Result<Manifest, ExportError> {
        match serde_json::from_slice(&self.buffer) {
            Ok(Frame::Manifest(manifest)) => Ok(manifest),
            Ok(Frame::Header(_)) => Err(self.unfit("a header stands where the manifest is due")),
            Err(error) => Err(self.unfit(format!("the manifest cannot be read: {error}"))),
        }
    }

    /// Whether everything before the manifest is what it says, and nothing stands behind it.
    fn check(&mut self, manifest: &Manifest) -> Result<(), ExportError> {
        let Header { from, .. } = self.header;
        if manifest.count != self.count {
            return Err(
                self.unfit(format!("the manifest counts {} events, and there are {}", manifest.count, self.count))
            );
        }
        let ends = (self.count > 0).then(|| (from, from + self.count - 1));
        if (manifest.first, manifest.last) != (ends.map(|ends| ends.0), ends.map(|ends| ends.1)) {
            return Err(self.unfit("the manifest names another first or last event than there is"));
        }
        let digest = self.digest.hex();
        if manifest.digest != digest {
            return Err(self.unfit(format!(
                "the lines before are not those that were exported: their digest is {digest}, and the manifest has {}. \
                 Something was changed or damaged; export it again",
                manifest.digest
            )));
        }
        if self.next_line()? {
            return Err(self.unfit("something stands behind the manifest"));
        }
        Ok(())
    }
}
