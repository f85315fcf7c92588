use super::*;

const SPEC: Spec = Spec::new(3, Distance::Dot);

/// Parses both parts from one buffer.
pub(crate) fn parse_whole(spec: &Spec, bytes: Zeroizing<Vec<u8>>) -> Result<Sections, Error> {
    let paged_offset = paged_offset(&bytes).ok_or_else(|| Error::corrupt("segment header", 0))?;
    let buffer = Slice::whole(bytes);
    let paged = Section::Memory(buffer.sub(paged_offset..buffer.len()).unwrap());
    parse(spec, &buffer.sub(0..paged_offset).unwrap(), &paged)
}

fn container() -> Zeroizing<Vec<u8>> {
    let mut writer = ContainerWriter::default();
    writer.part(SectionKind::Codes).extend_from_slice(b"codes");
    writer.paged(PagedKind::TextIndex).extend_from_slice(&[9; 70]);
    writer.paged(PagedKind::Texts).extend_from_slice(b"texts");
    writer.finish(&SPEC, 1, 2)
}

#[test]
fn sections_come_back() {
    let sections = parse_whole(&SPEC, container()).unwrap();
    assert_eq!((sections.documents, sections.rows), (1, 2));
    assert_eq!(sections.get(SectionKind::Codes).bytes(), b"codes");
    assert_eq!(&*sections.paged(PagedKind::Texts).whole().unwrap(), b"texts");
    assert_eq!(*sections.paged(PagedKind::TextIndex).whole().unwrap(), [9; 70]);
    assert_eq!((sections.get(SectionKind::Graph).len(), sections.paged(PagedKind::Heads).len()), (0, 0));
}

#[test]
fn large_sections_are_aligned_to_cache_lines() {
    let mut writer = ContainerWriter::default();
    writer.part(SectionKind::IdBytes).extend_from_slice(b"odd");
    writer.part(SectionKind::Codes).resize(ALIGNED_MIN, 1);
    writer.part(SectionKind::Residuals).resize(ALIGNED_MIN + 1, 2);
    writer.part(SectionKind::Graph).resize(ALIGNED_MIN, 3);
    writer.paged(PagedKind::Vectors).resize(ALIGNED_MIN, 4);
    let sections = parse_whole(&SPEC, writer.finish(&SPEC, 0, 0)).unwrap();
    for (kind, filled) in [(SectionKind::Codes, 1), (SectionKind::Residuals, 2), (SectionKind::Graph, 3)] {
        let section = sections.get(kind);
        assert!(section.begin().is_multiple_of(CACHE_LINE) && section.bytes().iter().all(|byte| *byte == filled));
    }
    assert!(sections.paged(PagedKind::Vectors).whole().unwrap().iter().all(|byte| *byte == 4));
}

#[test]
fn every_flipped_bit_and_every_cut_is_an_error() {
    let whole = container();
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
fn an_offset_that_the_table_does_not_name_is_refused() {
    let whole = container();
    let buffer = Slice::whole(whole.clone());
    let at = paged_offset(&whole).unwrap();
    assert_eq!(whole.len() - at, 75);
    for wrong in [at - 1, at + 1, TABLE_END, whole.len()] {
        let paged = Section::Memory(buffer.sub(wrong..whole.len()).unwrap());
        assert!(parse(&SPEC, &buffer.sub(0..wrong).unwrap(), &paged).is_err(), "{wrong}");
    }
}

#[test]
fn other_versions_and_specs_are_refused_by_name() {
    let mut bytes = container();
    bytes[4] = 1;
    let message = parse_whole(&SPEC, bytes).err().unwrap().to_string();
    assert_eq!(message, "segment has format version 1; this program reads version 0 only");
    for spec in [Spec { dimensions: 4, ..SPEC }, Spec { distance: Distance::Cosine, ..SPEC }] {
        assert!(matches!(parse_whole(&spec, container()), Err(Error::Spec { .. })));
    }
}
