//! The template engine's two registries and our helpers. Strict: a name that does not exist is a fault, not an empty
//! text. Must stay free of side effects: a template can compute nothing but text.

use super::context::size_text;
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, PathAndJson, RenderContext, RenderError, RenderErrorReason,
    Renderable, handlebars_helper,
};
use serde_json::Value;

/// Continuation lines of a plain text note.
const INDENT: &str = "\n    ";

/// Values are escaped as HTML.
pub(super) fn html_registry() -> Handlebars<'static> {
    let mut registry = registry(lines_html);
    registry.register_escape_fn(escape);
    registry.register_helper("preformatted", Box::new(preformatted_html as HelperFunction));
    registry
}

/// Values stand as they are.
pub(super) fn text_registry() -> Handlebars<'static> {
    let mut registry = registry(lines_text);
    registry.register_escape_fn(|text| text.replace(['\u{2028}', '\u{2029}'], " "));
    registry.register_helper("preformatted", Box::new(preformatted_text as HelperFunction));
    registry
}

/// For text and quoted attributes, which is all our templates have. (The engine's own also writes `=` as an entity, which
/// makes every link longer and harder to read.) No value but in `lines` breaks a line; `\n` is white space in HTML.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut after_blank = true;
    for character in text.chars() {
        match character {
            '\t' => escaped.push_str("\u{a0}\u{a0}\u{a0} "),
            // HTML folds blanks; these stay apart.
            ' ' if after_blank => escaped.push('\u{a0}'),
            '\u{2028}' | '\u{2029}' => escaped.push(' '),
            _ => push_entity(&mut escaped, character),
        }
        after_blank = escaped.ends_with(' ');
    }
    escaped
}

/// What could be markup as entities, and nothing else changed.
fn entities(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|character| push_entity(&mut escaped, character));
    escaped
}

fn push_entity(escaped: &mut String, character: char) {
    match character {
        '&' => escaped.push_str("&amp;"),
        '<' => escaped.push_str("&lt;"),
        '>' => escaped.push_str("&gt;"),
        '"' => escaped.push_str("&quot;"),
        '\'' => escaped.push_str("&#39;"),
        _ => escaped.push(character),
    }
}

/// Where the text's reader would begin a new line. U+2028 and U+2029 come from some editors.
fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\u{2028}' | '\u{2029}')
}

type HelperFunction = fn(&Helper<'_>, &Handlebars<'_>, &Context, &mut RenderContext<'_, '_>, &mut dyn Output) -> HelperResult;

fn registry(lines: HelperFunction) -> Handlebars<'static> {
    let mut registry = Handlebars::new();
    registry.set_strict_mode(true);
    // A template must not write to the server's log.
    registry.unregister_helper("log");
    registry.register_helper("if", Box::new(Condition { wanted: true }));
    registry.register_helper("unless", Box::new(Condition { wanted: false }));
    registry.register_helper("lines", Box::new(lines));
    registry.register_helper("size", Box::new(size as HelperFunction));
    registry.register_helper("plural", Box::new(plural as HelperFunction));
    registry.register_helper("member", Box::new(member));
    registry
}

handlebars_helper!(member: |of: Json, path: str| member_at(of, path));

/// `{{member posted "metadata.rack"}}`: a member of what was posted, and nothing where there is none.
fn member_at(of: &Value, path: &str) -> Value {
    let found = path.split('.').try_fold(of, |value, name| match value {
        Value::Array(list) => list.get(name.parse::<usize>().ok()?),
        value => value.get(name),
    });
    found.cloned().unwrap_or_default()
}

/// `if` and `unless` as they are, but strict: the engine's own take a misspelt name for an empty value.
struct Condition {
    wanted: bool,
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        registry: &'reg Handlebars<'reg>,
        context: &'rc Context,
        render_context: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let holds = parameter(helper, "if", 0)?.value().is_truthy(false);
        let branch = if holds == self.wanted { helper.template() } else { helper.inverse() };
        branch.map_or(Ok(()), |branch| branch.render(registry, context, render_context, out))
    }
}

/// `{{lines text}}`: line ends become `<br>`.
fn lines_html(helper: &Helper<'_>, _: &Handlebars<'_>, _: &Context, _: &mut RenderContext<'_, '_>, out: &mut dyn Output) -> HelperResult {
    let text = text(helper, "lines")?;
    for (index, line) in text.split(is_line_end).enumerate() {
        if index > 0 {
            out.write("<br>")?;
        }
        out.write(&escape(line))?;
    }
    Ok(())
}

/// `{{lines text}}`: further lines are indented.
fn lines_text(helper: &Helper<'_>, _: &Handlebars<'_>, _: &Context, _: &mut RenderContext<'_, '_>, out: &mut dyn Output) -> HelperResult {
    out.write(&text(helper, "lines")?.replace(is_line_end, INDENT))?;
    Ok(())
}

/// `<pre>{{preformatted text}}</pre>`: with its line ends, blanks and tabs as they are, so that what is copied can be used.
fn preformatted_html(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let text = text(helper, "preformatted")?;
    // A browser leaves out a line end right behind the tag.
    if text.starts_with('\n') {
        out.write("\n")?;
    }
    out.write(&entities(&text))?;
    Ok(())
}

/// `{{preformatted text}}`: further lines are not indented.
fn preformatted_text(
    helper: &Helper<'_>,
    _: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    out.write(&text(helper, "preformatted")?)?;
    Ok(())
}

/// `{{size 3229469}}`: `3.2 MB`.
fn size(helper: &Helper<'_>, _: &Handlebars<'_>, _: &Context, _: &mut RenderContext<'_, '_>, out: &mut dyn Output) -> HelperResult {
    let bytes = number(helper, "size")?;
    out.write(&size_text(bytes))?;
    Ok(())
}

/// `{{plural 2 "file" "files"}}`: `files`.
fn plural(
    helper: &Helper<'_>,
    registry: &Handlebars<'_>,
    _: &Context,
    _: &mut RenderContext<'_, '_>,
    out: &mut dyn Output,
) -> HelperResult {
    let index = if number(helper, "plural")? == 1 { 1 } else { 2 };
    let word = parameter(helper, "plural", index)?.value().as_str().ok_or(RenderErrorReason::InvalidParamType("text"))?;
    out.write(&registry.get_escape_fn()(word))?;
    Ok(())
}

fn parameter<'a, 'rc>(helper: &'a Helper<'rc>, name: &'static str, index: usize) -> Result<&'a PathAndJson<'rc>, RenderError> {
    let parameter = helper.param(index).ok_or(RenderErrorReason::ParamNotFoundForIndex(name, index))?;
    if parameter.is_value_missing() {
        return Err(RenderError::strict_error(parameter.relative_path()));
    }
    Ok(parameter)
}

fn text(helper: &Helper<'_>, name: &'static str) -> Result<String, RenderError> {
    match parameter(helper, name, 0)?.value() {
        Value::String(text) => Ok(text.clone()),
        Value::Null => Ok(String::new()),
        Value::Number(number) => Ok(number.to_string()),
        _ => Err(RenderErrorReason::InvalidParamType("text").into()),
    }
}

fn number(helper: &Helper<'_>, name: &'static str) -> Result<u64, RenderError> {
    Ok(parameter(helper, name, 0)?.value().as_u64().ok_or(RenderErrorReason::InvalidParamType("whole number"))?)
}
