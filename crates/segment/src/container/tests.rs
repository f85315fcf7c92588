use super::*;

const SPEC: Spec = Spec::new(3, Distance::Dot);

/// Both parts from one buffer.
pub(crate) fn parse_whole(spec: &Spec, bytes: Zeroizing<Vec<u8>>) -> Result<Sections, Error> {
    let border = border(&bytes).ok_or_else(|| Error::corrupt("segment header", 0))?;
    let buffer = Slice::whole(bytes);
    let paged = Section::Memory(buffer.sub(border..buffer.len()).unwrap());
    parse(spec, &buffer.sub(0..border).unwrap(), &paged)
}

fn sample() -> Zeroizing<Vec<u8>> {
    let mut writer = Writer::default();
    writer.part(Kind::Codes).extend_from_slice(b"codes");
    writer.paged(Paged::TextIndex).extend_from_slice(&[9; 70]);
    writer.paged(Paged::Texts).extend_from_slice(b"texts");
    writer.finish(&SPEC, 1, 2)
}

#[test]
fn sections_come_back() {
    let sections = parse_whole(&SPEC, sample()).unwrap();
    assert_eq!((sections.documents, sections.rows), (1, 2));
    assert_eq!(sections.get(Kind::Codes).bytes(), b"codes");
    assert_eq!(&*sections.paged(Paged::Texts).whole().unwrap(), b"texts");
    assert_eq!(*sections.paged(Paged::TextIndex).whole().unwrap(), [9; 70]);
    assert_eq!((sections.get(Kind::Graph).len(), sections.paged(Paged::Heads).len()), (0, 0));
}

#[test]
fn large_sections_begin_with_a_line_of_the_caches() {
    let mut writer = Writer::default();
    writer.part(Kind::IdBytes).extend_from_slice(b"odd");
    writer.part(Kind::Codes).resize(ALIGNED_MIN, 1);
    writer.part(Kind::Residuals).resize(ALIGNED_MIN + 1, 2);
    writer.part(Kind::Graph).resize(ALIGNED_MIN, 3);
    writer.paged(Paged::Vectors).resize(ALIGNED_MIN, 4);
    let sections = parse_whole(&SPEC, writer.finish(&SPEC, 0, 0)).unwrap();
    for (kind, filled) in [(Kind::Codes, 1), (Kind::Residuals, 2), (Kind::Graph, 3)] {
        let section = sections.get(kind);
        assert!(section.begin().is_multiple_of(LINE) && section.bytes().iter().all(|byte| *byte == filled));
    }
    assert!(sections.paged(Paged::Vectors).whole().unwrap().iter().all(|byte| *byte == 4));
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let whole = sample();
    for at in 0..whole.len() {
        assert!(parse_whole(&SPEC, Zeroizing::new(whole[..at].to_vec())).is_err(), "cut at {at}");
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            assert!(parse_whole(&SPEC, bytes).is_err(), "bit {bit} of byte {at}");
        }
    }
    let longer = Zeroizing::new([whole.as_slice(), &[0]].concat());
    assert!(parse_whole(&SPEC, longer).is_err());
}

#[test]
fn a_border_that_the_table_does_not_name_is_refused() {
    let whole = sample();
    let buffer = Slice::whole(whole.clone());
    let at = border(&whole).unwrap();
    assert_eq!(whole.len() - at, 75);
    for wrong in [at - 1, at + 1, TABLE_END, whole.len()] {
        let paged = Section::Memory(buffer.sub(wrong..whole.len()).unwrap());
        assert!(parse(&SPEC, &buffer.sub(0..wrong).unwrap(), &paged).is_err(), "{wrong}");
    }
}

#[test]
fn other_versions_and_specs_are_refused_by_name() {
    let mut bytes = sample();
    bytes[4] = 1;
    let message = parse_whole(&SPEC, bytes).err().unwrap().to_string();
    assert_eq!(message, "segment has format version 1; this program reads version 0 only");
    for spec in [Spec { dimensions: 4, ..SPEC }, Spec { distance: Distance::Cosine, ..SPEC }] {
        assert!(matches!(parse_whole(&spec, sample()), Err(Error::Spec { .. })));
    }
}
