//! Chunks: which files go together, and the tar stream (gzip or plain) that holds them.
//!
//! A file of at least the minimum size has a chunk of its own, a larger one than the split size has several; small
//! files are packed up to the target size. No chunk mixes shards, and every shard has at least one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::config::BackupSettings;

/// The PAX record that says where a part of a split file belongs.
const FILE_OFFSET: &str = "WEAVIATE.fileOffset";

/// How chunks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    Gzip(u32),
    Plain,
}

impl Codec {
    /// As the descriptors name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip(_) => "gzip",
            Self::Plain => "none",
        }
    }
}

/// Part of a file that goes into one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    /// The piece is not the whole file.
    pub(crate) split: bool,
    /// The file has chunks of its own.
    pub(crate) big: bool,
}

/// Distributes a shard's files over chunks.
pub(crate) fn plan(files: &[(String, u64)], settings: &BackupSettings) -> Vec<Vec<Piece>> {
    let mut sizes: Vec<u64> = files.iter().map(|(_, size)| *size).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let by_count = sizes.get(settings.max_individual_files).map_or(0, |size| size + 1);
    let threshold = settings.min_chunk.max(by_count);
    let target = settings.target_chunk.max(threshold);
    let mut chunks = Vec::new();
    let mut packed: Vec<Piece> = Vec::new();
    let mut packed_bytes = 0;
    for (file, size) in files.iter().filter(|(_, size)| *size < threshold) {
        if packed_bytes + size > target && !packed.is_empty() {
            chunks.push(std::mem::take(&mut packed));
            packed_bytes = 0;
        }
        packed.push(Piece { file: file.clone(), offset: 0, length: *size, split: false, big: false });
        packed_bytes += size;
    }
    if !packed.is_empty() {
        chunks.push(packed);
    }
    for (file, size) in files.iter().filter(|(_, size)| *size >= threshold) {
        let parts = size.div_ceil(settings.split.max(1)).max(1);
        let part = size.div_ceil(parts);
        for offset in (0..parts).map(|at| at * part) {
            let length = part.min(size - offset);
            chunks.push(vec![Piece { file: file.clone(), offset, length, split: parts > 1, big: true }]);
        }
    }
    if chunks.is_empty() {
        chunks.push(Vec::new());
    }
    chunks
}

/// Reads the pieces below `root` into one compressed tar stream.
pub(crate) fn pack(root: &Path, pieces: &[Piece], codec: Codec) -> io::Result<Vec<u8>> {
    match codec {
        Codec::Plain => tar_up(root, pieces, Vec::new()),
        Codec::Gzip(level) => tar_up(root, pieces, GzEncoder::new(Vec::new(), Compression::new(level)))?.finish(),
    }
}

fn tar_up<W: Write>(root: &Path, pieces: &[Piece], to: W) -> io::Result<W> {
    let mut archive = tar::Builder::new(to);
    for piece in pieces {
        let mut file = File::open(root.join(&piece.file))?;
        let mut header = tar::Header::new_ustar();
        header.set_metadata(&file.metadata()?);
        header.set_size(piece.length);
        header.set_entry_type(tar::EntryType::Regular);
        if piece.split {
            let offset = piece.offset.to_string();
            archive.append_pax_extensions([(FILE_OFFSET, offset.as_bytes())])?;
            file.seek(SeekFrom::Start(piece.offset))?;
        }
        archive.append_data(&mut header, &piece.file, file.take(piece.length))?;
    }
    archive.into_inner()
}

/// Unpacks a chunk below `root`; with `only`, just these files.
pub(crate) fn unpack(bytes: &[u8], codec: Codec, root: &Path, only: Option<&[String]>) -> io::Result<()> {
    match codec {
        Codec::Plain => untar(bytes, root, only),
        // The checksum at the end of the gzip stream is never reached, as in the real server: a flipped byte may pass.
        Codec::Gzip(_) => untar(GzDecoder::new(bytes), root, only),
    }
}

fn untar(from: impl Read, root: &Path, only: Option<&[String]>) -> io::Result<()> {
    let mut archive = tar::Archive::new(from);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        if !path.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("bad path in chunk: {}", path.display())));
        }
        if only.is_some_and(|files| !files.iter().any(|file| Path::new(file) == path)) {
            continue;
        }
        let offset = match entry.pax_extensions()? {
            None => None,
            Some(records) => {
                let mut found = None;
                for record in records {
                    let record = record?;
                    if record.key() == Ok(FILE_OFFSET) {
                        let text = record.value().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
                        found = Some(text.parse().map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?);
                    }
                }
                found
            }
        };
        let target = root.join(&path);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = OpenOptions::new().create(true).write(true).truncate(offset.is_none()).open(&target)?;
        if let Some(offset) = offset {
            file.seek(SeekFrom::Start(offset))?;
        }
        let size = entry.header().size()?;
        let cut = || format!("copy file {}: copy: unexpected EOF", target.display());
        let written = io::copy(&mut entry, &mut file).map_err(|error| io::Error::new(error.kind(), cut()))?;
        if written != size {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, cut()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> BackupSettings {
        BackupSettings {
            skip_access_check: true,
            cleanup_unfinished: false,
            min_chunk: 100,
            target_chunk: 150,
            split: 1000,
            max_individual_files: 100,
        }
    }

    fn sizes(chunks: &[Vec<Piece>]) -> Vec<Vec<u64>> {
        chunks.iter().map(|pieces| pieces.iter().map(|piece| piece.length).collect()).collect()
    }

    #[test]
    fn small_files_are_packed_and_large_ones_stand_alone_or_are_split() {
        let files: Vec<(String, u64)> =
            [80, 60, 50, 100, 2500].iter().enumerate().map(|(at, size)| (format!("f{at}"), *size)).collect();
        let chunks = plan(&files, &settings());
        assert_eq!(sizes(&chunks), vec![vec![80, 60], vec![50], vec![100], vec![834], vec![834], vec![832]]);
        assert_eq!(sizes(&plan(&[], &settings())), vec![Vec::<u64>::new()]);
    }

    #[test]
    fn packed_and_split_files_come_back_byte_for_byte_and_a_cut_stream_does_not() {
        let root = std::env::temp_dir().join(format!("lifeboat-node-chunks-{}", std::process::id()));
        fs::create_dir_all(root.join("in/a")).unwrap();
        let content: Vec<u8> = (0..2500u32).map(|n| n.to_le_bytes()[0]).collect();
        fs::write(root.join("in/a/big"), &content).unwrap();
        fs::write(root.join("in/a/small"), b"hello").unwrap();
        let files = vec![("a/big".to_owned(), 2500), ("a/small".to_owned(), 5)];
        for pieces in plan(&files, &settings()) {
            let chunk = pack(&root.join("in"), &pieces, Codec::Gzip(6)).unwrap();
            unpack(&chunk, Codec::Gzip(6), &root.join("out"), None).unwrap();
            assert!(unpack(&chunk[..chunk.len() / 2], Codec::Gzip(6), &root.join("bad"), None).is_err());
        }
        assert_eq!(fs::read(root.join("out/a/big")).unwrap(), content);
        assert_eq!(fs::read(root.join("out/a/small")).unwrap(), b"hello");
        fs::remove_dir_all(root).unwrap();
    }
}
