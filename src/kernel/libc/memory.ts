/**
 * Memory at a fixed address, for the kernel to read and write. The ArrayBuffer's backing store lives outside
 * V8's heap, so the collector never moves it; whoever keeps `address` must keep the Pinned too, or the memory
 * is freed under the kernel's hands.
 */
export interface Pinned {
  readonly bytes: Uint8Array
  readonly view: DataView
  readonly address: number
}

/** How an ArrayBuffer's address is found; koffi in production. */
export type AddressOf = (memory: ArrayBuffer) => number

/** Zero-filled, aligned to 8 bytes at least. */
export const pin = (size: number, addressOf: AddressOf): Pinned => {
  const memory = new ArrayBuffer(size)
  return { bytes: new Uint8Array(memory), view: new DataView(memory), address: addressOf(memory) }
}
