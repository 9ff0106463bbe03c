/**
 * The generation of this network namespace's ruleset: a number that every committed transaction, of whomever, raises by one,
 * and that a refused one leaves alone (nf_tables_commit in net/netfilter/nf_tables_api.c). Asking takes microseconds; any
 * listing by nft 1.0.6, even of one chain, fetches every element of every set, 2.3 s of CPU with 40,000 publications.
 */
import { loadLibc, MSG_DONTWAIT } from './libc/index.ts'
import { messageHead, NFGENMSG, NLMSG_HEADER, sendMessage, withNetlink } from './netlink.ts'

/** Subsystem 10 (nftables), messages 16 and 15 (linux/netfilter/nf_tables.h). */
const GETGEN = (10 << 8) | 16
const NEWGEN = (10 << 8) | 15
/** The attribute's own header; NFTA_GEN_ID comes first. */
const ATTRIBUTE = 4

/** Undefined when the kernel does not tell (no permission, no nf_tables, no FFI). */
export const nftGeneration = async (): Promise<number | undefined> => {
  try {
    const libc = await loadLibc()
    return withNetlink(libc, socket => {
      sendMessage(libc, socket, messageHead(GETGEN, 1, 0, 0))
      const answer = libc.pin(256)
      // The kernel answers inside send(2).
      const size = libc.recv(socket, answer.address, answer.bytes.length, MSG_DONTWAIT)
      const value = NLMSG_HEADER + NFGENMSG + ATTRIBUTE
      if (size < value + 4 || answer.view.getUint16(4, true) !== NEWGEN) return undefined
      return answer.view.getUint32(value, false)
    })
  } catch {
    return undefined
  }
}
