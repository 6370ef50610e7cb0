//! Which server a demo ran on, as it says itself and as its bytes say.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use sha2::{Digest as _, Sha256};

use crate::report::Weaviate;

/// What the test double says its source revision is, which is no hexadecimal number and so no real server's
/// (`tests/node/src/version.rs`).
pub const DOUBLES_GIT_HASH: &str = "lifeboat-double";

/// What was chosen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// The test double.
    Embedded,
    /// A binary by its path.
    Binary,
    /// An image, through a launcher.
    Image(String),
}

/// The server behind a node, from its file and from what it says. Whatever was chosen, a server that says it is the
/// double is reported as the double; one that was chosen as the double and says otherwise is an error.
///
/// # Errors
/// When the file cannot be read, or the double is not the double.
pub fn identify(chosen: &Chosen, file: &Path, version: &str, git_hash: &str) -> anyhow::Result<Weaviate> {
    let (kind, name, binary_sha256) = match chosen {
        Chosen::Image(image) => ("docker", image.clone(), None),
        Chosen::Embedded | Chosen::Binary => {
            let name = file.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            ("binary", name, Some(sha256(file)?))
        }
    };
    let double = git_hash == DOUBLES_GIT_HASH;
    anyhow::ensure!(double || *chosen != Chosen::Embedded, "the test double says that it is {git_hash}");
    Ok(Weaviate {
        kind: if double { "embedded" } else { kind }.to_owned(),
        name,
        version: version.to_owned(),
        git_hash: git_hash.to_owned(),
        binary_sha256,
    })
}

fn sha256(file: &Path) -> anyhow::Result<String> {
    let reading = || format!("reading {}", file.display());
    let (mut file, mut hash, mut buffer) = (File::open(file).with_context(reading)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        let read = file.read(&mut buffer).with_context(reading)?;
        if read == 0 {
            return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hash.update(&buffer[..read]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_is_reported_as_the_double_however_it_was_chosen_and_nothing_else_passes_for_it() {
        let file = std::env::temp_dir().join(format!("lifeboat-server-{}", std::process::id()));
        std::fs::write(&file, "x").unwrap();
        let of = |chosen: &Chosen, hash: &str| identify(chosen, &file, "1.38.11", hash);
        for chosen in [Chosen::Embedded, Chosen::Binary, Chosen::Image("weaviate:1.38.11".into())] {
            assert_eq!(of(&chosen, DOUBLES_GIT_HASH).unwrap().kind, "embedded", "{chosen:?}");
        }
        let real = of(&Chosen::Binary, "34febe578107").unwrap();
        assert_eq!(real.kind, "binary");
        let x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert_eq!(real.binary_sha256.as_deref(), Some(x), "sha256sum of one x");
        assert_eq!(of(&Chosen::Image("i".into()), "34febe578107").unwrap().binary_sha256, None);
        assert!(of(&Chosen::Embedded, "34febe578107").is_err());
        std::fs::remove_file(file).unwrap();
    }
}
