//! One shard on disk: numbered segment files that only grow, the last of them still open.
//!
//! Objects live in memory and in `lsm/objects/segment-<n>.wal` (open) or `.db` (sealed, immutable). Every batch is
//! written through before it is acknowledged, so a killed process loses nothing. What is still open does not count in
//! `/v1/nodes`, as an unflushed memtable does not in the real server.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use crate::objects::{Object, ObjectId, Record, decode, encode_delete, encode_put};

/// The objects of one shard, and its files.
#[derive(Debug)]
pub(crate) struct Shard {
    dir: PathBuf,
    segment_bytes: u64,
    objects: RwLock<BTreeMap<ObjectId, Arc<Object>>>,
    writer: Mutex<Writer>,
}

#[derive(Debug)]
struct Writer {
    open: Option<Open>,
    next: u64,
    flushed: usize,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    size: u64,
    since: Instant,
}

impl Shard {
    /// Opens the shard in `dir`, made if absent, and reads all of its segments.
    pub(crate) fn open(dir: &Path, segment_bytes: u64) -> io::Result<Self> {
        let segments = dir.join("lsm/objects");
        fs::create_dir_all(&segments)?;
        let mut files: Vec<(u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&segments)? {
            let path = entry?.path();
            if let Some(number) = number(&path) {
                files.push((number, path));
            }
        }
        files.sort();
        let mut objects = BTreeMap::new();
        for (_, path) in &files {
            let bytes = fs::read(path)?;
            let mut rest = bytes.as_slice();
            loop {
                let record = decode(&mut rest).map_err(|error| {
                    io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
                })?;
                match record {
                    None => break,
                    Some(Record::Put(object)) => {
                        objects.insert(object.id, Arc::new(object));
                    }
                    Some(Record::Delete(id)) => {
                        objects.remove(&id);
                    }
                }
            }
            let whole = bytes.len() - rest.len();
            if !rest.is_empty() {
                // A process was killed in the middle of a write: what it had not acknowledged goes.
                OpenOptions::new().write(true).open(path)?.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
            }
            if path.extension().is_some_and(|extension| extension == "wal") {
                fs::rename(path, path.with_extension("db"))?;
            }
        }
        let next = files.last().map_or(1, |(number, _)| number + 1);
        let flushed = objects.len();
        let shard = Self {
            dir: dir.to_owned(),
            segment_bytes,
            objects: RwLock::new(objects),
            writer: Mutex::new(Writer { open: None, next, flushed }),
        };
        shard.write_small_files()?;
        Ok(shard)
    }

    /// Stores objects; an existing one keeps its creation time. Returns what is now stored.
    pub(crate) fn put(&self, objects: Vec<Object>) -> io::Result<Vec<Arc<Object>>> {
        let mut writer = self.writer();
        let mut bytes = Vec::new();
        let mut stored = Vec::with_capacity(objects.len());
        {
            let present = self.objects();
            for mut object in objects {
                if let Some(old) = present.get(&object.id) {
                    object.created_ms = old.created_ms;
                }
                encode_put(&object, &mut bytes);
                stored.push(Arc::new(object));
            }
        }
        self.append(&mut writer, &bytes)?;
        let mut present = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        for object in &stored {
            present.insert(object.id, Arc::clone(object));
        }
        drop(present);
        self.seal_if(&mut writer, |open| open.size >= self.segment_bytes)?;
        Ok(stored)
    }

    /// Removes an object; false when there was none.
    pub(crate) fn delete(&self, id: ObjectId) -> io::Result<bool> {
        let mut writer = self.writer();
        if !self.objects().contains_key(&id) {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        encode_delete(id, &mut bytes);
        self.append(&mut writer, &bytes)?;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        Ok(true)
    }

    /// All objects, by id, under a read lock.
    pub(crate) fn objects(&self) -> RwLockReadGuard<'_, BTreeMap<ObjectId, Arc<Object>>> {
        self.objects.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Objects counted from flushed segments only.
    pub(crate) fn flushed(&self) -> usize {
        self.writer().flushed
    }

    /// Flushes an open segment that is older than `age`.
    pub(crate) fn flush_older(&self, age: std::time::Duration) -> io::Result<()> {
        let mut writer = self.writer();
        self.seal_if(&mut writer, |open| open.since.elapsed() >= age)
    }

    /// Seals everything, and hard-links the files into `staging`, so that later writes and deletions do not show in a
    /// backup. Returns the files' names relative to the shard's directory.
    pub(crate) fn snapshot(&self, staging: &Path) -> io::Result<Vec<String>> {
        let mut writer = self.writer();
        self.seal_if(&mut writer, |_| true)?;
        self.write_small_files()?;
        let mut names = vec!["indexcount".to_owned(), "proplengths".to_owned(), "version".to_owned()];
        for entry in fs::read_dir(self.dir.join("lsm/objects"))? {
            names.push(format!("lsm/objects/{}", entry?.file_name().to_string_lossy()));
        }
        names.sort();
        fs::create_dir_all(staging.join("lsm/objects"))?;
        for name in &names {
            let target = staging.join(name);
            if target.exists() {
                fs::remove_file(&target)?;
            }
            // Small files are rewritten in place of being replaced by rename; a link would follow the rewrite.
            if name.starts_with("lsm/") {
                fs::hard_link(self.dir.join(name), target)?;
            } else {
                fs::copy(self.dir.join(name), target)?;
            }
        }
        Ok(names)
    }

    fn writer(&self) -> MutexGuard<'_, Writer> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn append(&self, writer: &mut Writer, bytes: &[u8]) -> io::Result<()> {
        if writer.open.is_none() {
            let path = self.dir.join(format!("lsm/objects/segment-{:012}.wal", writer.next));
            let file = OpenOptions::new().create(true).append(true).open(&path)?;
            writer.open = Some(Open { file, path, size: 0, since: Instant::now() });
            writer.next += 1;
        }
        let Some(open) = &mut writer.open else { return Ok(()) };
        open.file.write_all(bytes)?;
        open.size += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    fn seal_if(&self, writer: &mut Writer, when: impl Fn(&Open) -> bool) -> io::Result<()> {
        if let Some(open) = writer.open.take_if(|open| when(open)) {
            fs::rename(&open.path, open.path.with_extension("db"))?;
            writer.flushed = self.objects().len();
        }
        Ok(())
    }

    fn write_small_files(&self) -> io::Result<()> {
        let count = u64::try_from(self.objects().len()).unwrap_or(u64::MAX);
        fs::write(self.dir.join("indexcount"), count.to_le_bytes())?;
        fs::write(self.dir.join("proplengths"), b"{}")?;
        fs::write(self.dir.join("version"), 2u16.to_le_bytes())
    }
}

fn number(path: &Path) -> Option<u64> {
    path.file_stem()?.to_str()?.strip_prefix("segment-")?.parse().ok()
}
