//! Builds the WebAssembly: the panel's `zendesk-app/dist/` (`panel.js`, `panel_bg.wasm`, `panel.css`), which the server embeds, and the
//! extension's core.
//!
//! One path for development and release: rustc, wasm-bindgen (as a library, so that no tool is downloaded), wasm-opt.
//! Only wasm-opt needs Node; without it the panel works all the same and is a third larger, so a release insists on it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use wasm_bindgen_cli_support::Bindgen;

use crate::commands::{cargo, on_path, run};
use crate::setup::WASM_TARGET;

const PANEL: &str = "deskbridge-zendesk-app";
const EXTENSION: &str = "deskbridge-extension";
const PROFILE: &str = "wasm";

/// Instead of the glue's own loader, which knows every way to load wasm. The page names the wasm and the panel's texts, because the server
/// gives them hashed names; the texts are put beside the page's data.
const BOOT: &str = "let wasm;
const page = id => document.getElementById('deskbridge' + id);
const load = id => fetch(page(id).href);
Promise.all([
WebAssembly.instantiateStreaming(load('-wasm'), __wbg_get_imports()),
load('-texts').then(texts => texts.json()),
]).then(([{ instance }, texts]) => {
page('').texts = texts;
wasm = instance.exports;
wasm.__wbindgen_start();
});
";
/// Where the glue's own loader begins.
const LOADER: &str = "let wasmModule, wasmInstance, wasm;
";
/// The module that the imports come from, by the name that wasm-bindgen gives it, and by the one that we do.
const LONG_MODULE: &str = "\"./panel_bg.js\": ";
const MODULE: &str = "p";
/// Where what the loader needs begins; before it stand functions for other modules.
const IMPORTS: &str = "function __wbg_get_imports() {
";

/// A small stack keeps the addresses of the data, which stands behind it, short.
const STACK: &str = "-Clink-arg=-zstack-size=65536";

/// What browsers since 2023 have and rustc turns on; wasm-opt must be told.
const WASM_OPT: [&str; 11] = [
    "-Oz",
    // The stack stands there, and does not grow so far.
    "--low-memory-unused",
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
    "--enable-bulk-memory",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
];

/// Most bytes of the panel's module and glue together, as brotli 11. `cargo xtask bench panel` measures against the same.
const PANEL_LIMIT: u64 = 36_000;
/// Adds up what the files named after it weigh as brotli: by Node's defaults of quality 11 with a window of 22 bits.
const WEIGH: &str = "process.argv.slice(1).reduce((sum, file) => \
                     sum + require('zlib').brotliCompressSync(require('fs').readFileSync(file)).length, 0)";

/// Builds the panel into `zendesk-app/dist/`; fails if it weighs too much. `release`: fail rather than leave wasm-opt out.
pub fn build_panel(root: &Path, release: bool) -> Result<()> {
    let app = root.join("zendesk-app");
    let work = work_directory(root, "panel")?;

    let compiled = compile(root, PANEL)?;
    let mut output = Bindgen::new()
        .input_path(&compiled)
        .out_name("panel")
        .web(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen refused the panel")?;
    let mut glue = for_new_browsers(&script(&thin(output.js()))?)?;
    silence!(output, |name: &str| words_a_panic(name) || belongs_to_a_task(name) || calls_nobody(name, &glue));
    let module = output.wasm_mut();
    for (number, import) in module.imports.iter_mut().enumerate() {
        import.name = shorten(&mut glue, &import.name, number)?;
        import.module = MODULE.into();
    }
    let mut unused = Vec::new();
    for export in module.exports.iter().filter(|export| !names(&glue, &export.name)) {
        unused.push(export.id());
    }
    for export in unused {
        module.exports.delete(export);
    }
    for (number, export) in module.exports.iter_mut().filter(|export| export.name.starts_with("wasm_bindgen__")).enumerate() {
        let short = format!("e{number}");
        glue = glue.replace(&export.name, &short);
        export.name = short;
    }
    output.emit(&work).context("wasm-bindgen wrote nothing")?;
    let wasm = work.join("panel_bg.wasm");
    let is_optimised = optimise(&app, &wasm, release)?;
    let wasm = fs::read(&wasm)?;
    let glue = without_unused(&glue, &wasm);

    let dist = app.join("dist");
    fs::create_dir_all(&dist).with_context(|| format!("cannot make {}", dist.display()))?;
    write_if_new(&dist.join("panel.js"), glue.as_bytes())?;
    write_if_new(&dist.join("panel_bg.wasm"), &wasm)?;
    write_if_new(&dist.join("panel.css"), &fs::read(app.join("assets/panel.css"))?)?;
    if is_optimised {
        check_weight(weight(&dist)?)?;
    }
    Ok(())
}

/// What a browser loads of the panel, in bytes: module and glue as brotli 11.
fn weight(dist: &Path) -> Result<u64> {
    let output = Command::new("node").current_dir(dist).args(["-p", WEIGH, "panel_bg.wasm", "panel.js"]).output();
    let output = output.context("cannot start node")?;
    let said = String::from_utf8_lossy(&output.stdout);
    said.trim().parse().with_context(|| format!("node does not weigh the panel: {}", String::from_utf8_lossy(&output.stderr)))
}

fn check_weight(weight: u64) -> Result<()> {
    println!("  {weight} of {PANEL_LIMIT} bytes as brotli 11");
    ensure!(weight <= PANEL_LIMIT, "the panel weighs {weight} bytes, more than {PANEL_LIMIT}: leave something out of it");
    Ok(())
}

/// Builds the extension's module and answers its glue (an ES module) and its wasm. `release`: fail rather than leave wasm-opt out.
pub fn build_extension(root: &Path, release: bool) -> Result<(String, Vec<u8>)> {
    let work = work_directory(root, "extension")?;
    let compiled = compile(root, EXTENSION)?;
    let mut output = Bindgen::new()
        .input_path(&compiled)
        .out_name("core")
        .web(true)?
        .typescript(false)
        .omit_default_module_path(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate_output()
        .context("wasm-bindgen refused the extension")?;
    let glue = thin(output.js());
    silence!(output, words_a_panic);
    output.emit(&work).context("wasm-bindgen wrote nothing")?;
    let wasm = work.join("core_bg.wasm");
    optimise(&root.join("zendesk-app"), &wasm, release)?;
    Ok((glue, fs::read(&wasm)?))
}

fn work_directory(root: &Path, name: &str) -> Result<PathBuf> {
    let work = target_directory(root).join(PROFILE).join(name);
    fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    Ok(work)
}

/// Runs the module through wasm-opt, in place. False: it is not there, and `release` does not ask for it.
fn optimise(app: &Path, wasm: &Path, release: bool) -> Result<bool> {
    match wasm_opt(app) {
        Ok(tool) => run(Command::new(tool).args(WASM_OPT).arg(wasm).arg("-o").arg(wasm)).map(|()| true),
        Err(reason) if release => Err(reason.context("a release needs wasm-opt")),
        Err(reason) => {
            println!("  without wasm-opt, so the module is larger than a released one: {reason:#}");
            Ok(false)
        }
    }
}

/// Compiles a shell; answers where the module lies. Paths of this machine are kept out of it.
fn compile(root: &Path, package: &str) -> Result<PathBuf> {
    let remap = |place: &Path, name| format!("--remap-path-prefix={}={name}", place.display());
    let flags: Vec<String> = std::iter::once(remap(root, "deskbridge"))
        .chain(cargo_home().map(|home| remap(&home, "cargo")))
        .chain([STACK.to_owned()])
        .collect();
    run(cargo(root)
        // With --target these reach the module alone, not build scripts.
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .args(["build", "--package", package, "--target", WASM_TARGET, "--profile", PROFILE]))?;
    let module = target_directory(root).join(WASM_TARGET).join(PROFILE).join(format!("{}.wasm", package.replace('-', "_")));
    ensure!(module.is_file(), "cargo made no {}", module.display());
    Ok(module)
}

/// The pinned wasm-opt, installed from `package-lock.json` if it is not there yet. The error says why it cannot be used.
fn wasm_opt(app: &Path) -> Result<PathBuf> {
    let tool = app.join("node_modules/.bin/wasm-opt");
    ensure!(on_path("node"), "Node is not installed");
    if !tool.is_file() {
        ensure!(on_path("npm"), "npm is not installed");
        run(Command::new("npm").current_dir(app).args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]))
            .context("npm could not install binaryen")?;
    }
    Ok(tool)
}

/// Lets the functions with such names do nothing but stop the module. wasm-opt then takes away what only they call. A macro, because only
/// wasm-bindgen's crate can name the module's type.
macro_rules! silence {
    ($output:expr, $is_meant:expr) => {{
        let module = $output.wasm_mut();
        let segments: Vec<_> = module.data.iter().map(|data| data.id()).collect();
        for segment in segments {
            blank_words(&mut module.data.get_mut(segment).value);
        }
        let is_meant = $is_meant;
        let meant = module.funcs.iter_local().filter(|(id, _)| module.funcs.get(*id).name.as_deref().is_some_and(&is_meant));
        let meant: Vec<_> = meant.map(|(id, _)| id).collect();
        for id in meant {
            let mut body = module.funcs.get_mut(id).kind.unwrap_local_mut().builder_mut().func_body();
            body.instrs_mut().clear();
            body.unreachable();
        }
    }};
}
use silence;

/// Whether the function of that name puts a panic into words. Nobody can read them: a panic stops the module, and a browser has no standard error.
fn words_a_panic(name: &str) -> bool {
    [
        "::panicking::",
        "FormatStringPayload",
        "StaticStrPayload",
        "BorrowError",
        "BorrowMutError",
        "alloc_error_hook",
        "wasm_bindgen::throw_str",
    ]
    .iter()
    .any(|part| name.contains(part))
}

/// Blanks the words of panics among the data, and the paths of the files that they name. wasm-opt leaves blanks out.
fn blank_words(data: &mut [u8]) {
    const WORDS: [&str; 11] = [
        "FnOnce called more than once",
        "closure invoked recursively or after being dropped",
        "called `Option::unwrap_throw()` on a `None` value",
        "recursive use of an object detected which would lead to unsafe aliasing in rust",
        "Tried to shrink to a larger capacity",
        "index out of bounds: the len is ",
        " but the index is ",
        "capacity overflow",
        "RefCell already mutably borrowed",
        "RefCell already borrowed",
        "memory allocation of ",
    ];
    for words in WORDS {
        blank(data, words.as_bytes(), |rest| rest.get(..words.len()).map(<[u8]>::len));
    }
    for beginning in ["/rustc/", "cargo/registry/src/", "shared/src/panel/"] {
        let end = |rest: &[u8]| rest.windows(3).position(|window| window == b".rs").map(|place| place + 3);
        blank(data, beginning.as_bytes(), end);
    }
}

/// Blanks whatever begins so, wherever it stands, up to the end that is found in it.
fn blank(data: &mut [u8], beginning: &[u8], end: impl Fn(&[u8]) -> Option<usize>) {
    let mut from = 0;
    while let Some(place) = data[from..].windows(beginning.len()).position(|window| window == beginning) {
        from += place;
        let length = end(&data[from..]).unwrap_or(beginning.len());
        data[from..from + length].fill(0);
    }
}

/// Whether the function of that name belongs to js-sys' executor of futures, which js-sys exports to everybody. The panel has no futures.
fn belongs_to_a_task(name: &str) -> bool {
    name.contains("js_sys::futures::")
}

/// Whether the function of that name calls a closure of a type that only js-sys names: the glue calls ours alone.
fn calls_nobody(name: &str, glue: &str) -> bool {
    name.strip_prefix("wasm_bindgen::convert::closures::_::invoke::")
        .is_some_and(|rest| !glue.contains(rest.split(' ').next().unwrap_or(rest)))
}

/// Glue without comments, indentation and variables that are returned at once.
fn thin(glue: &str) -> String {
    let mut thinned = String::with_capacity(glue.len());
    for line in glue.lines().map(str::trim) {
        let is_comment = line.starts_with("//") || line.starts_with("/*") || line.starts_with('*');
        if line == "return ret;"
            && let Some((before, value)) = thinned.strip_suffix(";\n").and_then(|before| before.rsplit_once("\nconst ret = "))
            && !value.contains('\n')
        {
            thinned = format!("{before}\nreturn {value};\n");
        } else if !line.is_empty() && !is_comment {
            thinned.push_str(line);
            thinned.push('\n');
        }
    }
    thinned
}

/// The glue without help for browsers that lack what every browser since 2021 has, and with short names for its most used functions.
fn for_new_browsers(glue: &str) -> Result<String> {
    const OLD: [(&str, &str); 4] = [
        (
            "if (!('encodeInto' in cachedTextEncoder)) {\ncachedTextEncoder.encodeInto = function (arg, view) {\nconst buf = \
             cachedTextEncoder.encode(arg);\nview.set(buf);\nreturn {\nread: arg.length,\nwritten: buf.length\n};\n};\n}\n",
            "",
        ),
        (
            "(typeof FinalizationRegistry === 'undefined')\n? { register: () => {}, unregister: () => {} }\n: new FinalizationRegistry",
            "new FinalizationRegistry",
        ),
        (
            "if (cachedDataViewMemory0 === null || cachedDataViewMemory0.buffer.detached === true || (cachedDataViewMemory0.buffer.detached === \
             undefined && cachedDataViewMemory0.buffer !== wasm.memory.buffer)) {",
            "if (cachedDataViewMemory0?.buffer !== wasm.memory.buffer) {",
        ),
        (
            "if (realloc === undefined) {\nconst buf = cachedTextEncoder.encode(arg);\nconst ptr = malloc(buf.length, 1) >>> \
             0;\ngetUint8ArrayMemory0().subarray(ptr, ptr + buf.length).set(buf);\nWASM_VECTOR_LEN = buf.length;\nreturn ptr;\n}\n",
            "",
        ),
    ];
    const NAMES: [(&str, &str); 12] = [
        ("getStringFromWasm0", "$text"),
        ("getDataViewMemory0", "$view"),
        ("cachedDataViewMemory0", "$viewed"),
        ("getUint8ArrayMemory0", "$bytes"),
        ("cachedUint8ArrayMemory0", "$byted"),
        ("addToExternrefTable0", "$keep"),
        ("passStringToWasm0", "$pass"),
        ("isLikeNone", "$none"),
        ("handleError", "$try"),
        ("WASM_VECTOR_LEN", "$length"),
        ("cachedTextEncoder", "$encoder"),
        ("cachedTextDecoder", "$decoder"),
    ];
    let mut glue = glue.to_owned();
    ensure!(glue.contains(LONG_MODULE), "the glue has no module; has wasm-bindgen changed?");
    glue = glue.replace(LONG_MODULE, &[MODULE, ": "].concat());
    for (old, new) in OLD.into_iter().chain(NAMES) {
        ensure!(glue.contains(old), "the glue does not have {old:?}; has wasm-bindgen changed?");
        glue = glue.replace(old, new);
    }
    Ok(glue)
}

/// Whether the glue uses the module's export of that name.
fn names(glue: &str, export: &str) -> bool {
    let mut uses = glue.split("wasm.").skip(1);
    uses.any(|rest| rest.strip_prefix(export).is_some_and(|rest| !rest.starts_with(|next: char| next == '_' || next.is_alphanumeric())))
}

/// The glue without imports that the module does not have (any more).
fn without_unused(glue: &str, wasm: &[u8]) -> String {
    let mut kept = String::with_capacity(glue.len());
    let mut is_used = true;
    for line in glue.lines() {
        let import = line.split_once(": function(").map(|(name, _)| name).filter(|name| is_short(name));
        if let Some(name) = import {
            // Module and name stand side by side, each after its length.
            let length = |text: &str| u8::try_from(text.len()).unwrap_or(u8::MAX);
            let entry = [&[length(MODULE)], MODULE.as_bytes(), &[length(name)], name.as_bytes()].concat();
            is_used = wasm.windows(entry.len()).any(|window| window == entry);
        }
        if line == "};" {
            is_used = true;
        }
        if is_used {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Whether [`shorten`] makes such names.
fn is_short(name: &str) -> bool {
    name.strip_prefix('i').is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Gives an import a short name in the glue, and answers it. The long ones end in a hash, which no compression takes away.
fn shorten(glue: &mut String, name: &str, number: usize) -> Result<String> {
    let short = format!("i{number}");
    let (old, new) = (format!("\n{name}: "), format!("\n{short}: "));
    ensure!(glue.matches(name).count() == 1 && glue.contains(&old), "the glue does not define {name} once");
    *glue = glue.replacen(&old, &new, 1);
    Ok(short)
}

/// Glue that starts by itself and neither imports nor exports.
fn script(glue: &str) -> Result<String> {
    let (_, rest) = glue.split_once(IMPORTS).context("the glue has no imports; has wasm-bindgen changed?")?;
    let (rest, _) = rest.split_once(LOADER).context("the glue has no loader; has wasm-bindgen changed?")?;
    let script = [IMPORTS, rest, BOOT].concat();
    let foreign = script.lines().find(|line| line.starts_with("import ") || line.starts_with("export "));
    ensure!(foreign.is_none(), "the glue needs another file, which the page would not find: {foreign:?}");
    Ok(script)
}

/// An unchanged file keeps its time, so that the server is not built again for nothing.
pub fn write_if_new(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// Where cargo builds.
pub fn target_directory(root: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |directory| root.join(directory))
}

fn cargo_home() -> Option<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME").filter(|home| *home != OsString::new())?).join(".cargo"));
    env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glue_is_thinned_and_boots_itself() {
        let glue = "/** About. */\nexport function start() {\n}\nfunction __wbg_get_imports() {\n    // why\n    return 'http://x';\n}\n\nlet wasmModule, wasmInstance, wasm;\nexport { x };\n";
        let expected = ["function __wbg_get_imports() {\nreturn 'http://x';\n}\n", BOOT].concat();
        assert_eq!(script(&thin(glue)).expect("a script"), expected);
    }

    #[test]
    fn glue_returns_without_a_variable() {
        let check = |glue, thinned| assert_eq!(thin(glue), thinned);
        check("i0: function(a) {\n    const ret = a.body;\n    return ret;\n},", "i0: function(a) {\nreturn a.body;\n},\n");
        let used = "{\nconst ret = a.body;\nreturn isLikeNone(ret) ? 0 : ret;\n}\n";
        check(used, used);
        let between = "{\nconst ret = a.body;\nuse(ret);\nreturn ret;\n}\n";
        check(between, between);
    }

    #[test]
    fn an_import_that_the_module_lacks_leaves_the_glue() {
        let glue = "const import0 = {\ni1: function(a) {\nreturn a;\n},\ni12: function(a) {\na.go();\n},\n};\nlet wasm;\n";
        let module = |import: &str| ["\0asm\u{1}p", import, "\0"].concat().into_bytes();
        let without = |import| without_unused(glue, &module(import));
        assert_eq!(without("\u{2}i1"), "const import0 = {\ni1: function(a) {\nreturn a;\n},\n};\nlet wasm;\n");
        assert_eq!(without("\u{3}i12"), "const import0 = {\ni12: function(a) {\na.go();\n},\n};\nlet wasm;\n");
    }

    #[test]
    fn an_export_is_used_by_its_whole_name() {
        let glue = "wasm.__wbindgen_malloc(1); wasm.memory";
        assert!(names(glue, "memory") && names(glue, "__wbindgen_malloc"));
        assert!(!names(glue, "__wbindgen") && !names(glue, "malloc"));
    }

    #[test]
    fn words_of_panics_are_blanked() {
        let check = |before: &str, after: &str| {
            let mut data = before.as_bytes().to_vec();
            blank_words(&mut data);
            assert_eq!(String::from_utf8_lossy(&data), after);
        };
        check("apanel/rustc/0a/library/core/src/x.rsbutton", &["apanel", &"\0".repeat(31), "button"].concat());
        check("xcapacity overflowycapacity overflow", &["x", &"\0".repeat(17), "y", &"\0".repeat(17)].concat());
        check("cargo/registry/src/", &"\0".repeat(19));
        check("xshared/src/panel/model.rsy", &["x", &"\0".repeat(25), "y"].concat());
        check("Tried to shrink to a larger capacity\u{1}", &["\0".repeat(36).as_str(), "\u{1}"].concat());
        check("waiting for cargo", "waiting for cargo");
    }

    #[test]
    fn a_panel_that_weighs_too_much_is_refused() {
        assert!(check_weight(PANEL_LIMIT).is_ok());
        assert!(check_weight(PANEL_LIMIT + 1).is_err());
    }

    #[test]
    fn glue_of_another_wasm_bindgen_is_not_guessed_at() {
        assert!(for_new_browsers("let wasm;").is_err());
    }

    #[test]
    fn what_is_silenced_is_known_by_name() {
        assert!(words_a_panic("core[c5930c85a12de822]::panicking::panic_fmt"));
        assert!(!words_a_panic("deskbridge_shared::panel::view::Inner::happen::h0a"));
        let invoke = |hash: &str| ["wasm_bindgen::convert::closures::_::invoke::", hash].concat();
        let glue = "wasm.wasm_bindgen__convert__closures_____invoke__ha9f6(a);";
        assert!(calls_nobody(&invoke("hb000"), glue));
        assert!(!calls_nobody(&invoke("ha9f6"), glue) && !calls_nobody(&invoke("ha9f6 externref shim"), glue));
    }

    #[test]
    fn foreign_glue_is_refused() {
        let glue = |middle: &str| [IMPORTS, middle, LOADER].concat();
        assert!(script(&glue("}\n")).is_ok());
        assert!(script(&glue("}\nimport { x } from './snippets/x.js';\n")).is_err());
        assert!(script(IMPORTS).is_err());
        assert!(script(LOADER).is_err());
    }

    #[test]
    fn imports_get_short_names() {
        let mut glue = "\n__wbg_focus_0123: function(a) {\n}".to_owned();
        assert_eq!(shorten(&mut glue, "__wbg_focus_0123", 7).expect("renamed"), "i7");
        assert_eq!(glue, "\ni7: function(a) {\n}");
        assert!(shorten(&mut glue, "__wbg_focus_0123", 8).is_err());
    }
}
