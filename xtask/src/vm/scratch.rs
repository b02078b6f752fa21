//! Directories for what is not finished: they go with their owner, and those of an owner that was killed go
//! when the next is made.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

/// A directory of ours alone, removed on drop.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
    /// Held as long as the owner lives, however it ends.
    _lock: File,
}

impl Scratch {
    /// Makes one in `parent`, whose name begins with `name`.
    pub(super) fn new(parent: &Path, name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(parent)
            .with_context(|| format!("cannot create {}", parent.display()))?;
        // While it is held, nobody takes a directory that is just being made for an abandoned one.
        let all = locked(parent)?;
        remove_abandoned(parent)?;
        let path = create(parent, name)?;
        let lock = locked(&path)?;
        drop(all);
        Ok(Self { path, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The next one removes what cannot be removed now.
        let _removed = fs::remove_dir_all(&self.path);
    }
}

fn create(parent: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let mut number = 0_u32;
    loop {
        let path = parent.join(format!("{name}.{number}"));
        match fs::create_dir(&path) {
            Ok(()) => return Ok(path),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => number += 1,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot create {}", path.display()));
            }
        }
    }
}

fn locked(path: &Path) -> anyhow::Result<File> {
    File::open(path)
        .and_then(|file| file.lock().map(|()| file))
        .with_context(|| format!("cannot lock {}", path.display()))
}

fn remove_abandoned(parent: &Path) -> anyhow::Result<()> {
    let entries =
        fs::read_dir(parent).with_context(|| format!("cannot read {}", parent.display()))?;
    for entry in entries {
        let path = entry?.path();
        // One that is gone by now was its owner's.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if file.try_lock().is_ok() {
            let _removed = fs::remove_dir_all(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_owner_has_left_is_removed_and_what_is_in_use_stays() {
        let parent = std::env::temp_dir().join(format!("anycast-scratch-{}", std::process::id()));
        let abandoned = parent.join("run.7");
        fs::create_dir_all(abandoned.join("half")).expect("it can be made");
        let first = Scratch::new(&parent, "run").expect("it can be made");
        assert!(!abandoned.exists());
        let second = Scratch::new(&parent, "run").expect("it can be made");
        assert!(first.path().exists());
        assert_ne!(first.path(), second.path());
        drop(first);
        drop(second);
        fs::remove_dir(&parent).expect("nothing is left in it");
    }
}
