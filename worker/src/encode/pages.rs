//! Pages: compresses each page as parquet finishes it, and keeps it until its row group is closed.
//!
//! parquet's own way gives every column of every open file a zstd context, which with many open files outweighs
//! the rows. So parquet is told "uncompressed", hands its pages over here, and here one context a thread serves
//! all; page header, sizes and offsets are then made to say zstd.
//! Neighbours: encode's writer alone.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, Bytes};
use parquet::arrow::arrow_writer::{PageKey, PageStore, PageStoreArgs, PageStoreFactory};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use zstd::bulk::Compressor;

/// A scratch buffer that one huge value has blown up is not kept.
const SCRATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Gives every column of a row group its pages.
#[derive(Debug)]
pub(super) struct Pages {
    level: ZstdLevel,
    columns: Mutex<Vec<SharedColumn>>,
}

type SharedColumn = Arc<Mutex<ColumnPages>>;

impl Pages {
    pub fn new(level: ZstdLevel) -> Self {
        Pages { level, columns: Mutex::default() }
    }

    /// The columns whose writers were made since the last call, in order.
    pub fn take_columns(&self) -> Vec<SharedColumn> {
        std::mem::take(&mut self.columns.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl PageStoreFactory for Pages {
    fn create(&self, _args: &PageStoreArgs<'_>) -> Result<Box<dyn PageStore>> {
        let column = Arc::new(Mutex::new(ColumnPages::new(self.level)));
        self.columns.lock().unwrap_or_else(PoisonError::into_inner).push(column.clone());
        Ok(Box::new(Store(column)))
    }
}

/// What parquet writes into.
struct Store(SharedColumn);

impl PageStore for Store {
    fn put(&mut self, blob: Bytes) -> Result<PageKey> {
        lock(&self.0).put(&blob)?;
        Ok(PageKey::new(0))
    }

    fn take(&mut self, _key: PageKey) -> Result<Bytes> {
        Err(ParquetError::General("pages are taken by `ColumnPages::finish`".into()))
    }

    fn memory_size(&self) -> usize {
        lock(&self.0).compressed_bytes
    }
}

pub(super) fn lock(column: &SharedColumn) -> MutexGuard<'_, ColumnPages> {
    // A panic in between leaves at worst a file that its owner drops.
    column.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The finished pages of one column chunk, headers included.
#[derive(Debug)]
pub(super) struct ColumnPages {
    level: ZstdLevel,
    /// A header waits for its page's body: they come one after the other.
    header: Option<Header>,
    dictionary: Option<Bytes>,
    data: VecDeque<Bytes>,
    raw_bytes: usize,
    compressed_bytes: usize,
}

impl ColumnPages {
    fn new(level: ZstdLevel) -> Self {
        ColumnPages {
            level,
            header: None,
            dictionary: None,
            data: VecDeque::new(),
            raw_bytes: 0,
            compressed_bytes: 0,
        }
    }

    /// Bytes handed over, before compression.
    pub fn raw_bytes(&self) -> usize {
        self.raw_bytes
    }

    /// Bytes as they will stand in the file.
    pub fn compressed_bytes(&self) -> usize {
        self.compressed_bytes
    }

    fn put(&mut self, blob: &[u8]) -> Result<()> {
        self.raw_bytes += blob.len();
        let Some(header) = self.header.take() else {
            self.header = Some(Header::parse(blob)?);
            return Ok(());
        };
        let page = compress(&header, blob, self.level)?;
        self.compressed_bytes += page.len();
        if header.is_dictionary {
            self.dictionary = Some(page);
        } else {
            self.data.push_back(page);
        }
        Ok(())
    }

    /// The chunk's bytes, dictionary first, and parquet's description of it, corrected to them.
    pub fn finish(&mut self, mut close: ColumnCloseResult) -> Result<(ChunkBytes, ColumnCloseResult)> {
        let dictionary_bytes = self.dictionary.as_ref().map_or(0, Bytes::len);
        let offset_of_data = integer(dictionary_bytes)?;
        close.bytes_written = self.compressed_bytes as u64;
        close.metadata = close
            .metadata
            .into_builder()
            .set_compression(Compression::ZSTD(self.level))
            .set_total_compressed_size(integer(self.compressed_bytes)?)
            .set_dictionary_page_offset(self.dictionary.is_some().then_some(0))
            .set_data_page_offset(offset_of_data)
            .build()?;
        if let Some(index) = close.offset_index.as_mut() {
            if index.page_locations.len() != self.data.len() {
                let (told, have) = (index.page_locations.len(), self.data.len());
                return Err(ParquetError::General(format!("the offset index has {told} pages of {have}")));
            }
            let mut offset = offset_of_data;
            for (location, page) in index.page_locations.iter_mut().zip(&self.data) {
                location.offset = offset;
                location.compressed_page_size = integer(page.len())?;
                offset += i64::from(location.compressed_page_size);
            }
        }
        let mut pages = std::mem::take(&mut self.data);
        if let Some(dictionary) = self.dictionary.take() {
            pages.push_front(dictionary);
        }
        let bytes = std::mem::take(&mut self.compressed_bytes) as u64;
        Ok((ChunkBytes { bytes, pages: Mutex::new(pages) }, close))
    }
}

fn integer<T: TryFrom<usize>>(bytes: usize) -> Result<T> {
    T::try_from(bytes)
        .map_err(|_| ParquetError::General(format!("{bytes} bytes are too many for the format")))
}

thread_local! {
    static COMPRESSOR: RefCell<Option<Context>> = const { RefCell::new(None) };
}

struct Context {
    level: ZstdLevel,
    compressor: Compressor<'static>,
    scratch: Vec<u8>,
}

/// The page as it goes into the file: the header, made to tell the compressed size, and the compressed body.
fn compress(header: &Header, body: &[u8], level: ZstdLevel) -> Result<Bytes> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let context = match kept.take().filter(|context| context.level == level) {
            Some(context) => context,
            None => Context {
                level,
                compressor: Compressor::new(level.compression_level())?,
                scratch: Vec::new(),
            },
        };
        let context = kept.insert(context);
        context.scratch.clear();
        context.scratch.reserve(zstd::zstd_safe::compress_bound(body.len()));
        context.compressor.compress_to_buffer(body, &mut context.scratch)?;
        let page = header.with_body(&context.scratch)?;
        if context.scratch.capacity() > SCRATCH_BYTES_MAX {
            context.scratch = Vec::new();
        }
        Ok(page)
    })
}

/// What is needed of a page header to change its size. Source: parquet.thrift's `PageHeader` in Thrift's compact
/// protocol, whose first three fields are required integers: type, uncompressed size, compressed size.
#[derive(Debug)]
struct Header {
    is_dictionary: bool,
    bytes: Vec<u8>,
    /// Where the compressed size stands in `bytes`.
    size_at: usize,
    size_end: usize,
}

impl Header {
    /// Field id one more than the last, type i32.
    const NEXT_I32: u8 = 0x15;
    /// `PageType::DICTIONARY_PAGE`, zigzag.
    const DICTIONARY: u8 = 2 << 1;

    fn parse(bytes: &[u8]) -> Result<Header> {
        let page_type = integer_end(bytes, 0)?;
        let raw_size = integer_end(bytes, page_type)?;
        let size_end = integer_end(bytes, raw_size)?;
        Ok(Header {
            is_dictionary: bytes[1] == Self::DICTIONARY,
            bytes: bytes.to_vec(),
            size_at: raw_size + 1,
            size_end,
        })
    }

    fn with_body(&self, body: &[u8]) -> Result<Bytes> {
        let mut page = Vec::with_capacity(self.bytes.len() + 5 + body.len());
        page.extend_from_slice(&self.bytes[..self.size_at]);
        // Zigzag of a number that is not negative is its double.
        let mut size = integer::<i32>(body.len())?.unsigned_abs() << 1;
        while size >= 0x80 {
            page.push((size & 0x7f) as u8 | 0x80);
            size >>= 7;
        }
        page.push(size as u8);
        page.extend_from_slice(&self.bytes[self.size_end..]);
        page.extend_from_slice(body);
        Ok(page.into())
    }
}

/// Where the integer field that begins at `start` ends.
fn integer_end(bytes: &[u8], start: usize) -> Result<usize> {
    let unknown = || ParquetError::General("a page header begins in an unknown way".into());
    if bytes.get(start) != Some(&Header::NEXT_I32) {
        return Err(unknown());
    }
    let length = bytes[start + 1..].iter().take(5).position(|byte| byte & 0x80 == 0).ok_or_else(unknown)?;
    Ok(start + 2 + length)
}

/// The bytes of one column chunk; read once.
pub(super) struct ChunkBytes {
    bytes: u64,
    pages: Mutex<VecDeque<Bytes>>,
}

impl Length for ChunkBytes {
    fn len(&self) -> u64 {
        self.bytes
    }
}

impl ChunkReader for ChunkBytes {
    type T = PageReader;

    fn get_read(&self, start: u64) -> Result<PageReader> {
        if start != 0 {
            return Err(ParquetError::General(format!(
                "a chunk is read from its beginning, not from {start}"
            )));
        }
        Ok(PageReader(std::mem::take(&mut self.pages.lock().unwrap_or_else(PoisonError::into_inner))))
    }

    fn get_bytes(&self, _start: u64, _length: usize) -> Result<Bytes> {
        Err(ParquetError::General("a chunk is read from its beginning, by `get_read`".into()))
    }
}

/// Gives each page's memory back once it is read.
pub(super) struct PageReader(VecDeque<Bytes>);

impl Read for PageReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let Some(page) = self.0.front_mut() else { return Ok(0) };
        let length = page.len().min(into.len());
        page.copy_to_slice(&mut into[..length]);
        if page.is_empty() {
            self.0.pop_front();
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_header_tells_the_compressed_size_afterwards() {
        // Data page, 300 bytes before and (as parquet believes) after, then a struct that must stay as it is.
        let header =
            Header::parse(&[0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0xd8, 0x04, 0x2c, 0x99, 0x00]).unwrap();
        assert!(!header.is_dictionary);
        let small = header.with_body(&[7]).unwrap();
        assert_eq!(&small[..], [0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0x02, 0x2c, 0x99, 0x00, 7]);
        let large = header.with_body(&[7; 70_000]).unwrap();
        assert_eq!(large[..10], [0x15, 0x00, 0x15, 0xd8, 0x04, 0x15, 0xe0, 0xc5, 0x08, 0x2c]);
    }

    #[test]
    fn a_page_header_of_another_kind_is_refused() {
        let cases: [&[u8]; 6] = [
            &[],
            &[0x15],
            &[0x15, 0x80, 0x80],
            &[0x15, 0x00, 0x15, 0x02],
            &[0x16, 0x00, 0x15, 0x02, 0x15, 0x02],
            &[0x15, 0x00, 0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x15, 0x02],
        ];
        for case in cases {
            assert!(Header::parse(case).is_err(), "{case:?}");
        }
    }
}
