//! Archives with the same bytes for the same files, whoever packs them.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use flate2::{Compression, GzBuilder};
use tar::{Builder, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

/// Files of an archive by their path in it.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// What only the owner may change and everybody may run or read.
fn mode(path: &str) -> u32 {
    if path.starts_with("kubectl-multimesh") { 0o755 } else { 0o644 }
}

/// Packs files as a `.tar.gz`; `time` in seconds is that of every file.
pub(super) fn tar(files: &Files, time: u64) -> std::io::Result<Vec<u8>> {
    let mut archive = Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(time);
        header.set_mode(mode(path));
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

/// Packs files as a `.zip`; its format has local times, so every file has the earliest of them.
pub(super) fn zip(files: &Files) -> zip::result::ZipResult<Vec<u8>> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (path, content) in files {
        let options = SimpleFileOptions::DEFAULT
            .compression_method(CompressionMethod::Deflated)
            .unix_permissions(mode(path));
        archive.start_file(path.as_str(), options)?;
        archive.write_all(content)?;
    }
    Ok(archive.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn files() -> Files {
        let files = [("man/a.1", "page"), ("LICENSE", "terms"), ("kubectl-multimesh", "binary")];
        files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).into()
    }

    #[test]
    fn a_tar_has_sorted_files_of_nobody_at_the_given_time() {
        let bytes = tar(&files(), 1_700_000_000).unwrap();
        assert_eq!(bytes, tar(&files(), 1_700_000_000).unwrap());
        assert_ne!(bytes, tar(&files(), 1_700_000_001).unwrap());
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(bytes.as_slice()));
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, 1_700_000_000));
                (path, header.mode().unwrap(), text)
            })
            .collect();
        let expected = [
            ("LICENSE", 0o644, "terms"),
            ("kubectl-multimesh", 0o755, "binary"),
            ("man/a.1", 0o644, "page"),
        ];
        let expected = expected.map(|(path, mode, text)| (path.to_owned(), mode, text.to_owned()));
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_zip_is_the_same_each_time_and_holds_every_file() {
        let bytes = zip(&files()).unwrap();
        assert_eq!(bytes, zip(&files()).unwrap());
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
        let names: Vec<_> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
        assert_eq!(names, ["LICENSE", "kubectl-multimesh", "man/a.1"]);
        let mut text = String::new();
        archive.by_name("LICENSE").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "terms");
    }
}
