//! Lists the files of the page, which lie in `web/`, for `src/web.rs` to embed: who adds one names it nowhere.

use std::{
    env,
    ffi::OsStr,
    fmt::Write,
    fs, io,
    path::{Path, PathBuf},
};

/// What is embedded, by the end of its name, and as what it is served. Anything else is for those who work on the page.
const TYPES: [(&str, &str); 7] = [
    (".html", "text/html; charset=utf-8"),
    (".js", "text/javascript; charset=utf-8"),
    (".css", "text/css; charset=utf-8"),
    (".svg", "image/svg+xml"),
    (".png", "image/png"),
    (".woff2", "font/woff2"),
    ("LICENSE", "text/plain; charset=utf-8"),
];

/// Directories that are not the page's: `src/openapi/pages.rs` has what it needs of them.
const OTHERS: [&str; 4] = ["docs", "vendor/swagger-ui", "vendor/redoc", "node_modules"];

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=../web");
    println!("cargo:rerun-if-changed=build.rs");
    let web = Path::new("../web").canonicalize()?;
    let mut files = Vec::new();
    list(&web, &web, &mut files)?;
    files.sort();
    let mut code = String::from("&[\n");
    for (path, media_type, name) in &files {
        writeln!(code, "    ({name:?}, {media_type:?}, include_bytes!({:?})),", path.display().to_string())
            .map_err(io::Error::other)?;
    }
    code.push_str("]\n");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&out).join("web.rs"), code)
}

/// Adds the files below a directory: where each is, its type, and its path in `web/`.
fn list(web: &Path, directory: &Path, files: &mut Vec<(PathBuf, &'static str, String)>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let is_hidden = path.file_name().and_then(OsStr::to_str).is_none_or(|name| name.starts_with('.'));
        let Some(name) = path.strip_prefix(web).ok().and_then(Path::to_str).map(str::to_owned) else { continue };
        if is_hidden || OTHERS.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            list(web, &path, files)?;
        } else if let Some((_, media_type)) = TYPES.iter().find(|(end, _)| name.ends_with(end)) {
            files.push((path, media_type, name));
        }
    }
    Ok(())
}
