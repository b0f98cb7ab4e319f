//! Makes `:authority` legal in a header block, without knowing the connection's dynamic table.
//!
//! gRPC clients of the C core, Java and Swift send the socket's path there over Unix sockets (`%2Frun%2F…` or
//! `/run/…`), which is no authority, so that h2 resets every stream of theirs. Each illegal byte becomes `-`. The
//! decoded length stays equal, so the dynamic tables of client and server stay in step (RFC 7541 §4.1 counts
//! decoded bytes) and a later indexed use carries the clean value. An empty value becomes `-`, one byte more.
//!
//! The daemon makes no use of the authority. Whatever is not understood is left as it is, for h2 to judge.

use std::sync::LazyLock;

/// The name whose values are looked at, and its index in the static table (RFC 7541 App. A).
const NAME: &[u8] = b":authority";
const NAME_INDEX: usize = 1;
/// The longest value that is looked at, as it is sent. A socket's path has 107 bytes, each at most three when escaped;
/// others wait while a caller's frame is read.
const VALUE_BYTES_MAX: usize = 1_024;

/// A header block whose literal `:authority` is legal; `None` when nothing needs to change, or when the block is not
/// understood. There is one at most (RFC 9113 §8.3): a second is not looked at.
pub(crate) fn clean_authority(block: &[u8]) -> Option<Vec<u8>> {
    let mut rest = Reader { bytes: block, at: 0 };
    while let Some(first) = rest.peek() {
        // RFC 7541 §6: how many bits of the first byte belong to the index.
        let bits = match first {
            0x80.. => 7,
            0x40.. => 6,
            0x20.. => 5,
            _ => 4,
        };
        let index = rest.integer(bits)?;
        if first >= 0x80 || (0x20..0x40).contains(&first) {
            continue;
        }
        let is_authority = match index {
            0 => rest.string()?.is_name(),
            index => index == NAME_INDEX,
        };
        let value_at = rest.at;
        let value = rest.string()?;
        if !is_authority {
            continue;
        }
        if value.bytes.len() > VALUE_BYTES_MAX {
            return None;
        }
        let legal = legalised(&value.decoded()?)?;
        let mut out = Vec::with_capacity(block.len() + legal.len());
        out.extend_from_slice(block.get(..value_at)?);
        write_integer(&mut out, 7, 0, legal.len());
        out.extend_from_slice(&legal);
        out.extend_from_slice(block.get(rest.at..)?);
        return Some(out);
    }
    None
}

/// The value with what an authority may not hold replaced; `None` when it is one already.
fn legalised(value: &[u8]) -> Option<Vec<u8>> {
    if http::uri::Authority::try_from(value).is_ok() {
        return None;
    }
    if value.is_empty() {
        return Some(b"-".to_vec());
    }
    let legal = |byte: &u8| if byte.is_ascii_alphanumeric() || b"._-".contains(byte) { *byte } else { b'-' };
    Some(value.iter().map(legal).collect())
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// RFC 7541 §5.1. Nothing here is longer than a frame, so four continuation bytes are plenty.
    fn integer(&mut self, bits: u8) -> Option<usize> {
        let mask = (1_u8 << bits) - 1;
        let first = self.next()? & mask;
        let mut value = usize::from(first);
        if first < mask {
            return Some(value);
        }
        for shift in [0, 7, 14, 21] {
            let byte = self.next()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// RFC 7541 §5.2.
    fn string(&mut self) -> Option<Text<'a>> {
        let huffman = self.peek()? & 0x80 != 0;
        let length = self.integer(7)?;
        let bytes = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(Text { huffman, bytes })
    }
}

impl Text<'_> {
    /// Whether it is [`NAME`], in either of its spellings.
    fn is_name(&self) -> bool {
        /// As Huffman code has it.
        const CODED: &[u8] = &[0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
        self.bytes == if self.huffman { CODED } else { NAME }
    }

    fn decoded(&self) -> Option<Vec<u8>> {
        if self.huffman { huffman_decoded(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

fn write_integer(out: &mut Vec<u8>, bits: u8, flags: u8, value: usize) {
    let mask = (1_usize << bits) - 1;
    let Some(mut left) = value.checked_sub(mask) else {
        out.push(flags | u8::try_from(value).unwrap_or(0));
        return;
    };
    out.push(flags | u8::try_from(mask).unwrap_or(0));
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or(0));
}

/// RFC 7541 §5.2.
fn huffman_decoded(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 8 / 5);
    let (mut rest, mut ahead, mut left) = (bytes.iter(), 0_u64, 0_u32);
    loop {
        while left < CODE_LENGTH_MAX
            && let Some(byte) = rest.next()
        {
            (ahead, left) = (ahead << 8 | u64::from(*byte), left + 8);
        }
        // As many bits as the longest code has; behind the end they are ones, with which no code begins.
        let missing = CODE_LENGTH_MAX.saturating_sub(left);
        let code = (ahead << missing | ((1 << missing) - 1)) >> left.saturating_sub(CODE_LENGTH_MAX);
        let code = u32::try_from(code).ok()?;
        let codes = CODES.iter().find(|codes| code < codes.end).filter(|codes| codes.length <= left);
        let Some(codes) = codes else { break };
        out.push(codes.symbol(code)?);
        left -= codes.length;
        ahead &= (1 << left) - 1;
    }
    // Padding is at most 7 bits, all ones (the beginning of EOS).
    (left < 8 && ahead == (1 << left) - 1).then_some(out)
}

/// The codes of one length, as if all had the longest one: with zeros behind them.
struct Codes {
    length: u32,
    first: u32,
    /// Behind the last one.
    end: u32,
    /// What they stand for, in their order.
    symbols: Vec<u8>,
}

impl Codes {
    fn symbol(&self, code: u32) -> Option<u8> {
        let nth = code.checked_sub(self.first)? >> (CODE_LENGTH_MAX - self.length);
        self.symbols.get(usize::try_from(nth).ok()?).copied()
    }
}

/// From the shortest to the longest. Made once: others wait while a caller's frame is looked at, which may be full of them.
static CODES: LazyLock<Vec<Codes>> = LazyLock::new(codes);

/// The code is canonical, so that the lengths of [`CODE_LENGTHS`] say all of it: within a length, codes count upwards in
/// the order of the symbols, and the first one of the next length follows the last one.
fn codes() -> Vec<Codes> {
    let mut end = 0;
    let of_length = |length: u32| {
        let symbols = (0..=u8::MAX).zip(CODE_LENGTHS).filter(|(_, bits)| u32::from(*bits) == length);
        let symbols: Vec<u8> = symbols.map(|(symbol, _)| symbol).collect();
        let first = end;
        end = symbols.iter().fold(first, |end, _| end + (1 << (CODE_LENGTH_MAX - length)));
        Codes { length, first, end, symbols }
    };
    (1..=CODE_LENGTH_MAX).map(of_length).filter(|codes| !codes.symbols.is_empty()).collect()
}

const CODE_LENGTH_MAX: u32 = 30;

/// Bits of each byte's code (RFC 7541 App. B).
#[rustfmt::skip]
const CODE_LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// A literal with an indexed name, not Huffman-coded.
    fn literal(first: u8, value: &[u8]) -> Vec<u8> {
        let mut out = vec![first];
        write_integer(&mut out, 7, 0, value.len());
        out.extend_from_slice(value);
        out
    }

    #[test]
    fn huffman_vectors_of_the_rfc_decode() {
        // RFC 7541 App. C.4.1, C.4.2, C.4.3, C.6.1
        let vectors: [(&[u8], &str); 4] = [
            (&[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff], "www.example.com"),
            (&[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf], "no-cache"),
            (&[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf], "custom-value"),
            (&[0xae, 0xc3, 0x77, 0x1a, 0x4b], "private"),
        ];
        for (coded, text) in vectors {
            assert_eq!(huffman_decoded(coded).unwrap(), text.as_bytes());
        }
        assert_eq!(huffman_decoded(&[0xff; 8]), None, "EOS is no symbol");
        assert_eq!(huffman_decoded(&[0xf1, 0xe3, 0x00]), None, "padding is ones");
        assert_eq!(huffman_decoded(&[0xff]), None, "and less than a byte");
        assert_eq!(huffman_decoded(&[]).unwrap(), b"");
    }

    #[test]
    fn every_symbol_decodes_wherever_it_stands() {
        let (mut bits, mut all) = (String::new(), Vec::new());
        for (symbol, length) in (0..=u8::MAX).zip(CODE_LENGTHS) {
            let codes = CODES.iter().find(|codes| codes.symbols.contains(&symbol)).unwrap();
            let nth = codes.symbols.iter().position(|other| *other == symbol).unwrap();
            let code = (codes.first >> (CODE_LENGTH_MAX - codes.length)) + u32::try_from(nth).unwrap();
            bits.push_str(&format!("{code:0width$b}", width = usize::from(length)));
            all.push(symbol);
            let padded = bits.clone() + &"1".repeat(bits.len().wrapping_neg() % 8);
            let bytes: Vec<u8> = padded
                .as_bytes()
                .chunks(8)
                .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')))
                .collect();
            assert_eq!(huffman_decoded(&bytes).unwrap(), all);
        }
    }

    #[test]
    fn the_lengths_are_a_complete_code() {
        // Kraft: all symbols and EOS (30 bits) fill the space exactly.
        let filled: u64 = CODE_LENGTHS.iter().map(|length| 1_u64 << (30 - length)).sum();
        assert_eq!(filled + 1, 1 << 30);
    }

    #[test]
    fn a_socket_path_keeps_its_length() {
        for (path, clean) in [
            ("%2Frun%2Fdayfly%2Fworkload.sock", "-2Frun-2Fdayfly-2Fworkload.sock"),
            ("/run/dayfly/workload.sock", "-run-dayfly-workload.sock"),
            ("/tmp/a b/ü.sock", "-tmp-a-b---.sock"),
        ] {
            for first in [0x41, 0x01, 0x11] {
                let block = [&[0x83, 0x86][..], &literal(first, path.as_bytes()), &[0x90]].concat();
                let want = [&[0x83, 0x86][..], &literal(first, clean.as_bytes()), &[0x90]].concat();
                assert_eq!(clean_authority(&block).unwrap(), want, "{path}");
            }
        }
    }

    #[test]
    fn a_legal_authority_is_left_alone() {
        for value in ["localhost", "localhost:8080", "[::1]:50051", "example.org", "10.0.0.1:1"] {
            assert_eq!(clean_authority(&literal(0x41, value.as_bytes())), None, "{value}");
        }
    }

    #[test]
    fn an_empty_authority_becomes_one_byte() {
        assert_eq!(clean_authority(&literal(0x41, b"")).unwrap(), literal(0x41, b"-"));
    }

    #[test]
    fn a_name_written_out_is_recognised() {
        let block = [&[0x40, 10][..], NAME, &[2], b"/x"].concat();
        assert_eq!(clean_authority(&block).unwrap(), [&[0x40, 10][..], NAME, &[2], b"-x"].concat());
        let coded = [0x40, 0x88, 0xb8, 0x3b, 0x53, 0x39, 0xec, 0x32, 0x7d, 0x7f];
        assert_eq!(huffman_decoded(coded.get(2..).unwrap()).unwrap(), NAME);
        let block = [&coded[..], &[2], b"/x"].concat();
        assert_eq!(clean_authority(&block).unwrap(), [&coded[..], &[2], b"-x"].concat());
    }

    #[test]
    fn little_of_a_block_is_decoded() {
        let slash = |length: usize| format!("/{}", "a".repeat(length - 1)).into_bytes();
        assert!(clean_authority(&literal(0x41, &slash(VALUE_BYTES_MAX))).is_some());
        assert_eq!(clean_authority(&literal(0x41, &slash(VALUE_BYTES_MAX + 1))), None);
        let [first, second] = [literal(0x41, b"/x"), literal(0x41, b"/y")];
        let cleaned = [&literal(0x41, b"-x")[..], &second].concat();
        assert_eq!(clean_authority(&[first, second].concat()).unwrap(), cleaned, "there is one at most");
    }

    #[test]
    fn other_headers_are_not_touched() {
        let block = [literal(0x44, b"/SpiffeWorkloadAPI/FetchX509SVID"), vec![0x3f, 0xe1, 0x1f]].concat();
        assert_eq!(clean_authority(&block), None);
    }

    #[test]
    fn what_is_cut_or_odd_is_left_alone() {
        let block = literal(0x41, b"/run/dayfly/workload.sock");
        for cut in 1..block.len() {
            assert_eq!(clean_authority(block.get(..cut).unwrap()), None, "cut at {cut}");
        }
        assert_eq!(clean_authority(&[0x41, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff]), None);
    }

    #[test]
    fn long_values_have_long_lengths() {
        let path = format!("/{}", "a".repeat(300));
        let cleaned = clean_authority(&literal(0x41, path.as_bytes())).unwrap();
        assert_eq!(cleaned, literal(0x41, format!("-{}", "a".repeat(300)).as_bytes()));
    }
}
