//! What is computed of an object's bytes, and what it is held to.

use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha2::{Digest as _, Sha256};

use crate::source::{Algorithm, Recorded};

/// What an object's ETag is, where its bytes can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagIs {
    /// Nothing that can be computed.
    Opaque,
    /// The MD5 of all bytes.
    Md5,
    /// The MD5 of the MD5s of parts of this size, and `-<parts>`; the size is not 0.
    Md5OfParts {
        /// Bytes of each part but the last.
        part_bytes: u64,
    },
}

/// What an object's bytes were held to, beside their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldTo {
    /// The store's own checksum of all of them.
    Checksum(Algorithm),
    /// The ETag.
    Etag,
    /// Nothing: the store has no checksum of the whole, and the ETag is opaque.
    Nothing,
}

/// What reading an object in full gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
    /// How many there were.
    pub size_bytes: u64,
    /// What they agree with.
    pub held_to: HeldTo,
}

/// What is wrong with an object. Every byte of it may have been read, and none of them counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// It was overwritten since it was listed.
    #[error("another object is under the key since it was listed")]
    Changed,
    /// It is gone since it was listed.
    #[error("it is gone since it was listed")]
    Missing,
    /// It has another length than listed.
    #[error("{expected_bytes} bytes are listed, {received_bytes} came")]
    WrongLength {
        /// As listed.
        expected_bytes: u64,
        /// As read or announced.
        received_bytes: u64,
    },
    /// Its bytes are not those of which the store recorded this checksum.
    #[error("its {algorithm} is {computed}, the store recorded {recorded}")]
    ChecksumDiffers {
        /// By which algorithm.
        algorithm: Algorithm,
        /// As the store has it, in hex.
        recorded: String,
        /// Of the bytes that came, in hex.
        computed: String,
    },
    /// Its bytes are not those of its ETag.
    #[error("its ETag would be {computed}, it is {recorded}")]
    EtagDiffers {
        /// As listed, without quotes.
        recorded: String,
        /// Of the bytes that came.
        computed: String,
    },
}

/// The running computations over one object: SHA-256, and what the store's record is held to. MD5 is several times
/// slower than the others, so the ETag is recomputed only where the store has no checksum of the whole.
pub(crate) struct Hashers {
    size_bytes: u64,
    sha256: Sha256,
    held: Held,
}

enum Held {
    Crc(crc_fast::Digest, Recorded),
    Sha256(Recorded),
    Etag(EtagHasher, String),
    Nothing,
}

impl Hashers {
    pub(crate) fn new(recorded: Option<Recorded>, etag_is: EtagIs, etag: &str) -> Self {
        let crc = |algorithm, recorded| Held::Crc(crc_fast::Digest::new(algorithm), recorded);
        let held = match recorded.as_ref().map(|r| r.algorithm).zip(recorded) {
            Some((Algorithm::Crc64Nvme, recorded)) => crc(CrcAlgorithm::Crc64Nvme, recorded),
            Some((Algorithm::Crc32, recorded)) => crc(CrcAlgorithm::Crc32IsoHdlc, recorded),
            Some((Algorithm::Crc32c, recorded)) => crc(CrcAlgorithm::Crc32Iscsi, recorded),
            Some((Algorithm::Sha256, recorded)) => Held::Sha256(recorded),
            None => {
                let part_bytes = match etag_is {
                    EtagIs::Opaque => None,
                    EtagIs::Md5 => Some(None),
                    EtagIs::Md5OfParts { part_bytes } => Some(Some(part_bytes.max(1))),
                };
                let plain = etag.trim_matches('"').to_ascii_lowercase();
                part_bytes.map_or(Held::Nothing, |part_bytes| Held::Etag(EtagHasher::new(part_bytes), plain))
            }
        };
        Self { size_bytes: 0, sha256: Sha256::new(), held }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.size_bytes += bytes.len() as u64;
        match &mut self.held {
            // Both take the bytes while they are in the core's cache.
            Held::Crc(crc, _) => {
                for block in bytes.chunks(32 << 10) {
                    crc.update(block);
                    self.sha256.update(block);
                }
            }
            Held::Etag(etag, _) => {
                self.sha256.update(bytes);
                etag.update(bytes);
            }
            Held::Sha256(_) | Held::Nothing => self.sha256.update(bytes),
        }
    }

    pub(crate) fn finish(self) -> Result<Digests, Finding> {
        let sha256: [u8; 32] = self.sha256.finalize().into();
        let checksum = |recorded: Recorded, computed: &[u8]| {
            let Recorded { algorithm, digest } = recorded;
            if digest == computed {
                return Ok(HeldTo::Checksum(algorithm));
            }
            Err(Finding::ChecksumDiffers { algorithm, recorded: hex(&digest), computed: hex(computed) })
        };
        let held_to = match self.held {
            Held::Crc(crc, recorded) => {
                let value = crc.finalize().to_be_bytes();
                let from = if recorded.algorithm == Algorithm::Crc64Nvme { 0 } else { 4 };
                checksum(recorded, &value[from..])?
            }
            Held::Sha256(recorded) => checksum(recorded, &sha256)?,
            Held::Etag(etag, recorded) => {
                let computed = etag.finish();
                if computed != recorded {
                    return Err(Finding::EtagDiffers { recorded, computed });
                }
                HeldTo::Etag
            }
            Held::Nothing => HeldTo::Nothing,
        };
        Ok(Digests { sha256, size_bytes: self.size_bytes, held_to })
    }
}

struct EtagHasher {
    md5: Md5,
    part_bytes: Option<u64>,
    in_part_bytes: u64,
    parts: u64,
    part_digests: Md5,
}

impl EtagHasher {
    fn new(part_bytes: Option<u64>) -> Self {
        Self { md5: Md5::new(), part_bytes, in_part_bytes: 0, parts: 0, part_digests: Md5::new() }
    }

    fn update(&mut self, mut bytes: &[u8]) {
        let Some(part_bytes) = self.part_bytes else { return self.md5.update(bytes) };
        while !bytes.is_empty() {
            let room = usize::try_from(part_bytes - self.in_part_bytes).unwrap_or(usize::MAX);
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.md5.update(now);
            self.in_part_bytes += now.len() as u64;
            if self.in_part_bytes == part_bytes {
                self.end_part();
            }
            bytes = later;
        }
    }

    fn end_part(&mut self) {
        self.part_digests.update(self.md5.finalize_reset());
        self.in_part_bytes = 0;
        self.parts += 1;
    }

    fn finish(mut self) -> String {
        if self.part_bytes.is_none() {
            return hex(&self.md5.finalize_reset());
        }
        if self.in_part_bytes > 0 || self.parts == 0 {
            self.end_part();
        }
        format!("{}-{}", hex(&self.part_digests.finalize()), self.parts)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether this CPU's own SHA-256 instructions are there; the hash uses them whenever they are.
pub fn sha_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("sha") && std::arch::is_x86_feature_detected!("sse4.1");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("sha2");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(recorded: Option<Recorded>, etag_is: EtagIs, etag: &str, bytes: &[u8]) -> Result<Digests, Finding> {
        let mut hashers = Hashers::new(recorded, etag_is, etag);
        for piece in bytes.chunks(3) {
            hashers.update(piece);
        }
        hashers.finish()
    }

    /// The check values of "123456789" (the CRC catalogue's, and SHA-256's own).
    fn catalogue() -> [(Algorithm, Vec<u8>); 4] {
        [
            (Algorithm::Crc64Nvme, 0xae8b_1486_0a79_9888_u64.to_be_bytes().to_vec()),
            (Algorithm::Crc32, 0xcbf4_3926_u32.to_be_bytes().to_vec()),
            (Algorithm::Crc32c, 0xe306_9283_u32.to_be_bytes().to_vec()),
            (Algorithm::Sha256, Sha256::digest(b"123456789").to_vec()),
        ]
    }

    #[test]
    fn bytes_are_held_to_whatever_checksum_the_store_has() {
        for (algorithm, digest) in catalogue() {
            let recorded = Some(Recorded { algorithm, digest });
            let digests = of(recorded.clone(), EtagIs::Md5, "\"not looked at\"", b"123456789").unwrap();
            assert_eq!(digests.held_to, HeldTo::Checksum(algorithm));
            assert_eq!((digests.size_bytes, digests.sha256), (9, Sha256::digest(b"123456789").into()));
            let finding = of(recorded, EtagIs::Opaque, "e", b"123456788").unwrap_err();
            assert!(matches!(finding, Finding::ChecksumDiffers { algorithm: a, .. } if a == algorithm), "{finding}");
        }
    }

    #[test]
    fn a_recorded_checksum_of_another_length_agrees_with_nothing() {
        for (algorithm, mut digest) in catalogue() {
            digest.pop();
            let recorded = Recorded { algorithm, digest };
            assert!(of(Some(recorded), EtagIs::Opaque, "e", b"123456789").is_err());
        }
    }

    #[test]
    fn without_a_checksum_the_etag_is_recomputed_where_it_is_one() {
        let (md5, parts) = ("\"25f9e794323b453885f5181f1b624d0b\"", EtagIs::Md5OfParts { part_bytes: 4 });
        assert_eq!(of(None, EtagIs::Md5, md5, b"123456789").unwrap().held_to, HeldTo::Etag);
        assert_eq!(of(None, EtagIs::Opaque, md5, b"other").unwrap().held_to, HeldTo::Nothing);
        assert!(matches!(of(None, EtagIs::Md5, md5, b"other").unwrap_err(), Finding::EtagDiffers { .. }));
        let inner: Vec<u8> = [&b"1234"[..], b"5678", b"9"].iter().flat_map(Md5::digest).collect();
        let etag = format!("{}-3", hex(&Md5::digest(&inner)));
        assert_eq!(of(None, parts, &etag, b"123456789").unwrap().held_to, HeldTo::Etag);
        assert!(matches!(of(None, parts, &etag, b"12345678").unwrap_err(), Finding::EtagDiffers { .. }));
        let empty = format!("{}-1", hex(&Md5::digest(Md5::digest(b""))));
        assert_eq!(of(None, parts, &empty, b"").unwrap().held_to, HeldTo::Etag);
    }
}
