//! Page images: whatever else a record says of a block, its image is right.

use walker_wal::{BLCKSZ, Block, Compression, HeapPage, Image, Record, WalError};

use super::{Page, Server, at, main_blocks};
use crate::Sink;
use crate::audit::Expect;
use crate::ledger::Ledger;

/// Look at an image as a page. `None` if it cannot be restored.
fn with_page<T>(
    block: &Block<'_>,
    image: &Image<'_>,
    server: &mut Server<'_>,
    look: impl FnOnce(&HeapPage<'_>, &mut Server<'_>) -> Result<T, WalError>,
) -> Result<Option<T>, WalError> {
    if image.compression == Compression::None {
        return look(&HeapPage::from_image(image)?, server).map(Some);
    }
    let mut page: Page = [0; BLCKSZ];
    if !(server.restore)(block.id, &mut page) {
        return Ok(None);
    }
    look(&HeapPage::from_bytes(&page)?, server).map(Some)
}

impl<S: Sink> Ledger<S> {
    /// A heap record's block, after its own change was applied. Most have no
    /// image, and need not be put together for one.
    #[inline]
    pub(super) fn apply_image<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        block: &Block<'_>,
        expect: Expect,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        match block.image {
            Some(_) => self.apply_image_of(rec, block.id, expect, server),
            None => Ok(()),
        }
    }

    #[inline(never)]
    fn apply_image_of<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        id: u8,
        expect: Expect,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let Some((block, image)) = rec.block(id).and_then(|b| Some((b, b.image?))) else {
            return Ok(());
        };
        let at = at(rec, &block);
        self.note_recent_of(at);
        let done = with_page(&block, &image, server, |page, server| {
            if !page.is_heap() {
                let (what, value) = ("pd_special of a heap page", page.header().special.into());
                return Err(WalError::Invalid { what, value });
            }
            self.image(at, rec.xid(), page, expect, server.oracle)
        })?;
        if done.is_none() {
            self.stats.images_undecided += 1;
            self.forget_block(at);
        }
        Ok(())
    }

    /// Images alone. The record does not say what kind of relation they
    /// belong to: what has special space is an index or a sequence.
    pub(super) fn apply_fpi<R: Record + ?Sized>(
        &mut self,
        rec: &R,
        expect: Expect,
        server: &mut Server<'_>,
    ) -> Result<(), WalError> {
        let mut result = Ok(());
        for block in main_blocks(rec) {
            let Some(image) = &block.image else { continue };
            let at = at(rec, &block);
            self.note_recent_of(at);
            let done = with_page(&block, image, server, |page, server| {
                if page.is_new() {
                    // Of anything; in a heap it holds nothing.
                    if self.rels.find(at.locator).is_some() {
                        self.init_page(at);
                    }
                } else if page.is_heap() {
                    self.image(at, rec.xid(), page, expect, server.oracle)?;
                } else {
                    self.drop_relation(at.locator);
                }
                Ok(())
            });
            match done {
                Ok(Some(())) => {}
                Ok(None) => {
                    self.stats.images_undecided += 1;
                    self.forget_block(at);
                }
                Err(e) => result = Err(e),
            }
        }
        result
    }
}
