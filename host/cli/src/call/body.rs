//! A file on its way to an API, a part at a time.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// The content of a file, read by a thread of its own: standard input may keep it waiting.
pub(super) struct FileBody {
    parts: Receiver<io::Result<Bytes>>,
    /// What is left of it, where that is known.
    left: Option<u64>,
}

impl FileBody {
    /// Opens a file; `-` is standard input.
    pub(super) fn open(file: &Path) -> io::Result<Self> {
        let (sender, parts) = channel(2);
        if file == Path::new("-") {
            thread::spawn(move || read(io::stdin().lock(), &sender));
            return Ok(Self { parts, left: None });
        }
        let opened = File::open(file)?;
        let metadata = opened.metadata()?;
        if metadata.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        thread::spawn(move || read(opened, &sender));
        Ok(Self { parts, left: metadata.is_file().then_some(metadata.len()) })
    }
}

fn read(mut file: impl Read, sender: &Sender<io::Result<Bytes>>) {
    loop {
        let mut part = vec![0; PART];
        let read = file.read(&mut part).map(|length| {
            part.truncate(length);
            Bytes::from(part)
        });
        let is_last = read.as_ref().map_or(true, Bytes::is_empty);
        let is_end = read.as_ref().is_ok_and(Bytes::is_empty);
        // Who doesn't listen any more has had enough.
        if is_end || sender.blocking_send(read).is_err() || is_last {
            return;
        }
    }
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.parts.poll_recv(context).map(|part| {
            let part = part?;
            if let (Ok(part), Some(left)) = (&part, &mut self.left) {
                *left = left.saturating_sub(part.len() as u64);
            }
            Some(part.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// How much is read at once, in bytes.
const PART: usize = 64 * 1024;
