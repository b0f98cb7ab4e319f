//! Texts of others in YAML, each one scalar whatever is in it; and templates that they are put into.

use std::fmt;

/// A text as a double-quoted scalar (YAML 1.2 §7.3.1), all of it in ASCII.
pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("\"")?;
        for char in self.0.chars() {
            match char {
                '"' | '\\' => write!(out, "\\{char}")?,
                ' ' => out.write_str(" ")?,
                _ if char.is_ascii_graphic() => write!(out, "{char}")?,
                _ => match u32::from(char) {
                    code @ ..=0xff => write!(out, "\\x{code:02x}")?,
                    code @ ..=0xffff => write!(out, "\\u{code:04x}")?,
                    code => write!(out, "\\U{code:08x}")?,
                },
            }
        }
        out.write_str("\"")
    }
}

/// A template with a value for each `<name>`. One that has a line for itself is a block, as far to the right as it, and
/// nothing where its value is empty. Values are not looked at again: what they say is never a place.
pub(super) fn fill(template: &str, values: &[(&str, String)]) -> String {
    let value = |name: &str| values.iter().find(|(each, _)| *each == name).map(|(_, value)| value.as_str());
    let mut whole = String::new();
    for line in template.lines() {
        let text = line.trim_start();
        let margin = line.strip_suffix(text).unwrap_or_default();
        if let Some(block) = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).and_then(value) {
            block.lines().for_each(|line| whole.extend([margin, line, "\n"]));
            continue;
        }
        let mut rest = line;
        while let Some((before, behind)) = rest.split_once('<') {
            let found = behind.split_once('>').and_then(|(name, behind)| Some((value(name)?, behind)));
            let (text, behind) = found.unwrap_or(("<", behind));
            whole.extend([before, text]);
            rest = behind;
        }
        whole.extend([rest, "\n"]);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_one_scalar() {
        for (text, quoted) in [
            ("web-1", r#""web-1""#),
            ("", r#""""#),
            ("a\"b", r#""a\"b""#),
            ("a\\", r#""a\\""#),
            ("a\nadmin: {}", r#""a\x0aadmin: {}""#),
            ("a\r\t\0", r#""a\x0d\x09\x00""#),
            ("\u{7f}\u{85}\u{a0}é", r#""\x7f\x85\xa0\xe9""#),
            ("\u{2028}\u{feff}", r#""\u2028\ufeff""#),
            ("🦋", r#""\U0001f98b""#),
            ("# %REQ(x)% *a &b !c", r##""# %REQ(x)% *a &b !c""##),
        ] {
            assert_eq!(Quoted(text).to_string(), quoted);
        }
    }

    #[test]
    fn a_template_has_its_values_where_it_says() {
        let values = |list: &[(&'static str, &str)]| -> Vec<_> {
            list.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
        };
        let filled = fill("a:\n  <b>\n  c: <d>, <d>\n", &values(&[("b", "- 1\n- 2\n"), ("d", "x")]));
        assert_eq!(filled, "a:\n  - 1\n  - 2\n  c: x, x\n");
        assert_eq!(fill("a\n  <b>\nc\n", &values(&[("b", "")])), "a\nc\n");
        assert_eq!(fill("<a> <b>\n", &values(&[("a", "<b>"), ("b", "<a>")])), "<b> <a>\n");
        assert_eq!(fill("<no> < > <\n", &[]), "<no> < > <\n");
    }
}
