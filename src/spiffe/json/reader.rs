//! The reader: one pass from left to right, nothing guessed, nothing repaired.

use std::collections::btree_map::Entry;

use super::{DEPTH_MAX, Error, Number, Object, VALUES_MAX, Value};

/// As [`parse`](super::parse), but a doubled name is only noted in its object: for a text of which parts
/// can be left out.
pub(in crate::spiffe) fn parse_with_repeats(bytes: &[u8], bytes_max: usize) -> Result<Value, Error> {
    if bytes.len() > bytes_max {
        return Err(Error::TooLong { bytes: bytes.len(), most: bytes_max });
    }
    let text = str::from_utf8(bytes).map_err(|_| Error::NotUtf8)?;
    if text.starts_with('\u{feff}') {
        return Err(Error::ByteOrderMark);
    }
    let mut reader = Reader { text, at: 0, values: 0 };
    reader.skip_blanks();
    let value = reader.value(0)?;
    reader.skip_blanks();
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(Error::Trailing),
    }
}

struct Reader<'a> {
    text: &'a str,
    /// Always at the beginning of a character.
    at: usize,
    values: usize,
}

impl<'a> Reader<'a> {
    /// The value that begins here. `depth` is how many arrays and objects it is in.
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH_MAX {
            return Err(Error::TooDeep);
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(Error::TooMany);
        }
        match self.peek().ok_or(Error::Cut)? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string().map(Value::String),
            b'-' | b'0'..=b'9' => self.number().map(Value::Number),
            b't' => self.word("true", Value::Bool(true)),
            b'f' => self.word("false", Value::Bool(false)),
            b'n' => self.word("null", Value::Null),
            _ => Err(self.unexpected()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Error> {
        let mut object = Object::default();
        self.take(b'{')?;
        self.skip_blanks();
        if self.take_if(b'}') {
            return Ok(Value::Object(object));
        }
        loop {
            self.skip_blanks();
            let name = self.string()?;
            self.skip_blanks();
            self.take(b':')?;
            self.skip_blanks();
            let value = self.value(depth + 1)?;
            match object.members.entry(name) {
                Entry::Vacant(place) => _ = place.insert(value),
                Entry::Occupied(place) => _ = object.repeated.get_or_insert(place.key().clone()),
            }
            self.skip_blanks();
            if self.take_if(b'}') {
                return Ok(Value::Object(object));
            }
            self.take(b',')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Error> {
        let mut elements = Vec::new();
        self.take(b'[')?;
        self.skip_blanks();
        if self.take_if(b']') {
            return Ok(Value::Array(elements));
        }
        loop {
            self.skip_blanks();
            elements.push(self.value(depth + 1)?);
            self.skip_blanks();
            if self.take_if(b']') {
                return Ok(Value::Array(elements));
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Result<String, Error> {
        self.take(b'"')?;
        let mut text = String::new();
        loop {
            let plain = self.rest();
            let end = plain.find(|c: char| matches!(c, '"' | '\\' | '\0'..='\u{1f}')).ok_or(Error::Cut)?;
            text.push_str(plain.get(..end).ok_or(Error::Cut)?);
            self.at += end;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text);
                }
                Some(b'\\') => {
                    self.at += 1;
                    text.push(self.escaped()?);
                }
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// What stands after a backslash.
    fn escaped(&mut self) -> Result<char, Error> {
        let letter = self.peek().ok_or(Error::Cut)?;
        let plain = match letter {
            b'"' | b'\\' | b'/' => char::from(letter),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.unexpected()),
        };
        self.at += 1;
        Ok(plain)
    }

    /// Four hexadecimal digits, or twice four that are a surrogate pair. Half a pair is no character.
    fn unicode(&mut self) -> Result<char, Error> {
        let start = self.at;
        let first = self.hex()?;
        let code = match first {
            0xd800..=0xdbff => {
                self.take(b'\\')?;
                self.take(b'u')?;
                match self.hex()? {
                    second @ 0xdc00..=0xdfff => 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                    _ => return Err(Error::Syntax(start)),
                }
            }
            code => code,
        };
        char::from_u32(code).ok_or(Error::Syntax(start))
    }

    fn hex(&mut self) -> Result<u32, Error> {
        (0..4).try_fold(0, |sum, _| {
            let digit = char::from(self.peek().ok_or(Error::Cut)?).to_digit(16).ok_or(self.unexpected())?;
            self.at += 1;
            Ok(sum * 16 + digit)
        })
    }

    fn number(&mut self) -> Result<Number, Error> {
        let start = self.at;
        let negative = self.take_if(b'-');
        // No zero in front of other digits.
        if !self.take_if(b'0') {
            self.digits()?;
        }
        let mut integer = true;
        if self.take_if(b'.') {
            integer = false;
            self.digits()?;
        }
        if self.take_if(b'e') || self.take_if(b'E') {
            integer = false;
            let _sign = self.take_if(b'+') || self.take_if(b'-');
            self.digits()?;
        }
        let token = self.text.get(start..self.at).ok_or(Error::Cut)?;
        let exact = match (integer, negative) {
            (true, false) => token.parse().ok().map(Number::Unsigned),
            (true, true) if token == "-0" => Some(Number::Unsigned(0)),
            (true, true) => token.parse().ok().map(Number::Negative),
            (false, _) => None,
        };
        match (exact, token.parse::<f64>()) {
            (Some(number), _) => Ok(number),
            (None, Ok(number)) if number.is_finite() => Ok(Number::Inexact(number)),
            _ => Err(Error::Number),
        }
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Error> {
        let count = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        self.at += count;
        match count {
            0 => Err(self.unexpected()),
            _ => Ok(()),
        }
    }

    fn word(&mut self, word: &str, value: Value) -> Result<Value, Error> {
        match self.rest().starts_with(word) {
            true => {
                self.at += word.len();
                Ok(value)
            }
            false => Err(self.unexpected()),
        }
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().bytes().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn take(&mut self, byte: u8) -> Result<(), Error> {
        match self.take_if(byte) {
            true => Ok(()),
            false => Err(self.unexpected()),
        }
    }

    /// Takes an ASCII byte if it is the next.
    fn take_if(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn peek(&self) -> Option<u8> {
        self.rest().bytes().next()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn unexpected(&self) -> Error {
        match self.peek() {
            Some(_) => Error::Syntax(self.at),
            None => Error::Cut,
        }
    }
}
