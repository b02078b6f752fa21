//! Archives in the format that the kernel unpacks as its first root file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst: "newc").

use std::collections::BTreeSet;
use std::path::Path;

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// An archive in the making.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    directories: BTreeSet<String>,
    entries: u32,
}

impl Archive {
    /// Adds an executable file, and the directories on the way to it.
    pub(super) fn file(&mut self, path: &Path, content: &[u8]) {
        let name = self.parents(path);
        self.entry(&name, EXECUTABLE, (0, 0), content);
    }

    /// Adds an empty directory.
    pub(super) fn directory(&mut self, path: &str) {
        self.file_system_path(path);
    }

    /// Adds a character device.
    pub(super) fn device(&mut self, path: &str, number: (u32, u32)) {
        let name = self.parents(Path::new(path));
        self.entry(&name, CHARACTER_DEVICE, number, b"");
    }

    /// The archive, ended.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), b"");
        self.bytes
    }

    /// Adds the directories above `path`; returns its name in the archive, which has no leading slash.
    fn parents(&mut self, path: &Path) -> String {
        if let Some(parent) = path.parent() {
            self.file_system_path(&parent.to_string_lossy());
        }
        path.to_string_lossy().trim_start_matches('/').to_owned()
    }

    fn file_system_path(&mut self, path: &str) {
        let mut above = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            if !above.is_empty() {
                above.push('/');
            }
            above.push_str(part);
            if self.directories.insert(above.clone()) {
                self.entry(&above, DIRECTORY, (0, 0), b"");
            }
        }
    }

    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.entries += 1;
        let length = |bytes: usize| u32::try_from(bytes).expect("no file here has 4 GiB");
        self.bytes.extend(b"070701");
        for field in [
            self.entries,
            mode,
            0, // user
            0, // group
            1, // links
            0, // modified
            length(content.len()),
            0, // device that it is on
            0,
            device.0,
            device.1,
            length(name.len() + 1),
            0, // checksum, not of this format
        ] {
            self.bytes.extend(format!("{field:08X}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_laid_out_as_the_kernel_documents_it() {
        let mut archive = Archive::default();
        archive.file(Path::new("/bin/a"), b"hello");
        let bytes = archive.finish();
        // A header has 110 bytes; names end with a zero byte; both name and content are padded to four bytes.
        let directory = 110 + 4 + 2;
        assert_eq!(&bytes[..6], b"070701");
        assert_eq!(&bytes[14..22], b"000041ED");
        assert_eq!(&bytes[110..114], b"bin\0");
        let file = &bytes[directory..];
        assert_eq!(&file[..6], b"070701");
        assert_eq!(&file[54..62], b"00000005");
        assert_eq!(&file[110..116], b"bin/a\0");
        assert_eq!(&file[116..124], b"hello\0\0\0");
        assert!(bytes.ends_with(b"TRAILER!!!\0\0\0\0") && bytes.len().is_multiple_of(4));
    }

    #[test]
    fn a_directory_is_added_once() {
        let mut archive = Archive::default();
        archive.file(Path::new("/usr/lib/a"), b"");
        archive.file(Path::new("/usr/lib/b"), b"");
        archive.directory("/usr/bin");
        let text = String::from_utf8_lossy(&archive.finish()).into_owned();
        assert_eq!(text.matches("usr/lib\0").count(), 1);
        assert_eq!(text.matches("usr/bin\0").count(), 1);
    }
}
