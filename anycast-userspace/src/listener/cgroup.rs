//! The cgroup that the programs are attached to, and which sockets that covers.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, fstatfs, statfs};

use super::error::ListenerError;

/// Inode, and so the id, of the root of the whole hierarchy.
const ROOT: u64 = 1;

/// An open cgroup v2 directory.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
    directory: File,
    whole: bool,
    inside: HashSet<u64>,
    outside: HashSet<u64>,
}

impl Cgroup {
    /// Opens `path`, or the root of the hierarchy as it is mounted here.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, ListenerError> {
        let path = match path {
            Some(path) => path.to_owned(),
            None => root().ok_or(ListenerError::NoCgroup2)?,
        };
        let refused = |error| ListenerError::Cgroup {
            path: path.clone(),
            error,
        };
        let directory = File::open(&path).map_err(refused)?;
        let metadata = directory.metadata().map_err(refused)?;
        let kind = fstatfs(&directory).map_err(|error| refused(error.into()))?;
        if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
            return Err(ListenerError::NotCgroup2 { path });
        }
        Ok(Self {
            path,
            directory,
            whole: metadata.ino() == ROOT,
            inside: HashSet::from([metadata.ino()]),
            outside: HashSet::new(),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, to attach programs to.
    pub(super) fn directory(&self) -> &File {
        &self.directory
    }

    /// Whether it is the root of the whole hierarchy.
    pub(super) fn is_whole(&self) -> bool {
        self.whole
    }

    /// Whether sockets of the cgroup `id` are covered. An id never changes its place.
    pub(super) fn covers(&mut self, id: u64) -> bool {
        if self.whole || self.inside.contains(&id) {
            return true;
        }
        if self.outside.contains(&id) {
            return false;
        }
        self.inside.extend(below(&self.path));
        let covered = self.inside.contains(&id);
        if !covered {
            self.outside.insert(id);
        }
        covered
    }
}

/// Ids of all cgroups below a directory.
fn below(directory: &Path) -> Vec<u64> {
    let mut found = Vec::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        // A cgroup can go away while it is looked at; then it has no sockets to watch.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if let Ok(metadata) = entry.metadata()
                && metadata.is_dir()
            {
                found.push(metadata.ino());
                left.push(entry.path());
            }
        }
    }
    found
}

/// Where the hierarchy is mounted. A mount may be listed that lies hidden below a later one.
fn root() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").ok()?;
    let is_cgroup2 = |path: &PathBuf| {
        statfs(path).is_ok_and(|found| found.filesystem_type() == CGROUP2_SUPER_MAGIC)
    };
    let found = mount_points(&mounts).find(is_cgroup2);
    // What is listed is named to the operator, also where it cannot be used.
    found.or_else(|| mount_points(&mounts).next())
}

/// The cgroup2 mounts of `/proc/mounts`, where spaces are written `\040`.
fn mount_points(mounts: &str) -> impl Iterator<Item = PathBuf> {
    mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (path, kind) = (fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(path.replace(r"\040", " ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_found_among_others() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        for (mounts, want) in [
            (hybrid, &["/sys/fs/cgroup/unified"][..]),
            ("none /mnt/c\\0402 cgroup2 rw 0 0", &["/mnt/c 2"]),
            ("a /x cgroup2 rw 0 0\nb /y cgroup2 rw 0 0", &["/x", "/y"]),
            ("cgroup2 /sys/fs/cgroup/cpu cgroup rw 0 0", &[]),
            ("", &[]),
        ] {
            let found: Vec<_> = mount_points(mounts).collect();
            let want: Vec<_> = want.iter().map(PathBuf::from).collect();
            assert_eq!(found, want, "{mounts}");
        }
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused_by_name() {
        let error = Cgroup::open(Some(Path::new("/tmp"))).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/tmp is not a directory of a cgroup v2 hierarchy"
        );
    }
}
