//! What an ETag says about an object's bytes, so that a byte that flipped at rest is seen at the first read.
//!
//! An ETag is the MD5 of the bytes for a single PUT, and the MD5 of the parts' MD5s with `-N` for a multipart upload,
//! under SSE-S3 or none; under SSE-KMS or SSE-C it is neither (facts: aws.md §5.3). Weaviate uploads with parts of
//! 16 MiB (facts: weaviate.md §2.6).

/// Weaviate's part size.
pub const PART_BYTES: u64 = 16 << 20;

/// What ETags in this bucket mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EtagMeaning {
    /// Digests of the bytes: SSE-S3 or no encryption.
    Md5,
    /// Nothing that can be computed: SSE-KMS or SSE-C.
    Opaque,
}

/// How to compute an object's ETag from its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EtagRecipe {
    /// The MD5 of all bytes.
    Whole,
    /// The MD5 of the MD5s of parts of [`PART_BYTES`], and `-<parts>`.
    Parts(u64),
    /// It cannot be computed, and why.
    Unknown(&'static str),
}

/// How to compute this ETag from the bytes of an object of this size.
pub fn recipe(etag: &str, size_bytes: u64, meaning: EtagMeaning) -> EtagRecipe {
    if meaning == EtagMeaning::Opaque {
        return EtagRecipe::Unknown("the bucket's encryption makes ETags opaque");
    }
    let text = plain(etag);
    let (digest, parts) = text.split_once('-').map_or((text, None), |(digest, parts)| (digest, Some(parts)));
    if digest.len() != 32 || !digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return EtagRecipe::Unknown("the ETag is not an MD5");
    }
    match parts.map(str::parse::<u64>) {
        None => EtagRecipe::Whole,
        Some(Ok(parts)) if parts == size_bytes.div_ceil(PART_BYTES).max(1) => EtagRecipe::Parts(parts),
        Some(Ok(_)) => EtagRecipe::Unknown("the upload's part size is not 16 MiB"),
        Some(Err(_)) => EtagRecipe::Unknown("the ETag's number of parts does not parse"),
    }
}

/// The ETag without quotes.
pub fn plain(etag: &str) -> &str {
    etag.trim_matches('"')
}

/// Whether a computed ETag is the recorded one.
pub fn same(recorded: &str, computed: &str) -> bool {
    plain(recorded).eq_ignore_ascii_case(plain(computed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_etag_is_recomputed_only_when_its_form_and_parts_say_how() {
        let md5 = "d41d8cd98f00b204e9800998ecf8427e";
        for (etag, size_bytes, expected) in [
            (format!("\"{md5}\""), 5, EtagRecipe::Whole),
            (md5.to_owned(), 0, EtagRecipe::Whole),
            (format!("{md5}-1"), 217, EtagRecipe::Parts(1)),
            (format!("{md5}-1"), 0, EtagRecipe::Parts(1)),
            (format!("\"{md5}-2\""), PART_BYTES + 1, EtagRecipe::Parts(2)),
        ] {
            assert_eq!(recipe(&etag, size_bytes, EtagMeaning::Md5), expected, "{etag}");
            assert!(matches!(recipe(&etag, size_bytes, EtagMeaning::Opaque), EtagRecipe::Unknown(_)));
        }
        for etag in [format!("{md5}-3"), format!("{md5}-x"), "abc".into(), format!("{}-1", "z".repeat(32))] {
            assert!(matches!(recipe(&etag, PART_BYTES + 1, EtagMeaning::Md5), EtagRecipe::Unknown(_)), "{etag}");
        }
    }
}
