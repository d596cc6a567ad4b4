//! Archives with the same bytes for the same files, whoever packs them.

use std::collections::BTreeMap;
use std::io::{Cursor, Write as _};

use flate2::read::GzDecoder;
use flate2::{Compression, GzBuilder};
use tar::{Archive, Builder, Header};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Files of an archive by their path in it.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The time of every file, in seconds: the earliest that a zip can tell, 1980-01-01. The time of a
/// commit would change when the digests of the archives are committed.
pub(super) const TIME: u64 = 315_532_800;

/// What only the owner may change and everybody may run or read.
fn mode(path: &str) -> u32 {
    if path.starts_with("kubectl-multimesh") { 0o755 } else { 0o644 }
}

/// Packs files as a `.tar.gz`.
pub(crate) fn tar(files: &Files) -> std::io::Result<Vec<u8>> {
    let mut archive = Builder::new(GzBuilder::new().write(Vec::new(), Compression::best()));
    for (path, content) in files {
        let mut header = Header::new_ustar();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(TIME);
        header.set_mode(mode(path));
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, path, content.as_slice())?;
    }
    archive.into_inner()?.finish()
}

/// Packs files as a `.zip`.
pub(crate) fn zip(files: &Files) -> zip::result::ZipResult<Vec<u8>> {
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

/// The paths in an archive, by what its name ends in.
pub(crate) fn paths(name: &str, bytes: &[u8]) -> Result<Vec<String>, String> {
    if std::path::Path::new(name).extension().is_some_and(|kind| kind == "zip") {
        let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| e.to_string())?;
        let names = archive.file_names().map(|it| Ok(it.map_err(|e| e.to_string())?.into_owned()));
        return names.collect();
    }
    let mut archive = Archive::new(GzDecoder::new(bytes));
    let entries = archive.entries().map_err(|e| e.to_string())?;
    let path = |entry: std::io::Result<tar::Entry<'_, _>>| {
        Ok(entry?.path()?.to_string_lossy().into_owned())
    };
    entries.map(path).collect::<std::io::Result<_>>().map_err(|e| e.to_string())
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
    fn a_tar_has_sorted_files_of_nobody_at_one_time() {
        let bytes = tar(&files()).unwrap();
        assert_eq!(bytes, tar(&files()).unwrap());
        assert_eq!(paths("a.tar.gz", &bytes).unwrap(), ["LICENSE", "kubectl-multimesh", "man/a.1"]);
        let mut archive = Archive::new(GzDecoder::new(bytes.as_slice()));
        let seen: Vec<_> = archive
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut text = String::new();
                entry.read_to_string(&mut text).unwrap();
                let path = entry.path().unwrap().display().to_string();
                let header = entry.header();
                assert_eq!((header.uid().unwrap(), header.mtime().unwrap()), (0, TIME));
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
        assert_eq!(paths("a.zip", &bytes).unwrap(), ["LICENSE", "kubectl-multimesh", "man/a.1"]);
        let mut archive = ZipArchive::new(Cursor::new(bytes)).unwrap();
        let time = archive.by_name("LICENSE").unwrap().last_modified().unwrap();
        assert_eq!((time.year(), time.month(), time.day(), time.hour()), (1980, 1, 1, 0));
        let mut text = String::new();
        archive.by_name("LICENSE").unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "terms");
    }
}
