/** resolv.conf(5): what the host resolves with, so that a container can be given something that works inside it. */
import { readFile } from 'node:fs/promises'
import { isLoopback, tryAddress } from '../core/address.ts'

export interface Resolver {
  /** Canonical addresses in order; zones (`%eth0`) and garbage are left out, as they mean nothing in a container. */
  readonly nameservers: readonly string[]
  readonly search: readonly string[]
  readonly options: readonly string[]
}

/** The last `search` (or its old form `domain`) wins; `options` add up. */
export const parseResolvConf = (text: string): Resolver => {
  const lines = text
    .split('\n')
    .map(line =>
      line
        .replace(/[#;].*/, '')
        .trim()
        .split(/\s+/),
    )
    .filter(([keyword]) => keyword !== '')
  const values = (...keywords: readonly string[]): readonly (readonly string[])[] =>
    lines.filter(([keyword = '']) => keywords.includes(keyword)).map(([, ...rest]) => rest)
  return {
    nameservers: values('nameserver').flatMap(([address = '']) => tryAddress(address) ?? []),
    search: values('search', 'domain').at(-1) ?? [],
    options: values('options').flat(),
  }
}

/** Reaches nothing from inside another namespace: systemd-resolved's 127.0.0.53, dnsmasq on 127.0.0.1. */
export const onlyLoopback = (resolver: Resolver): boolean => resolver.nameservers.every(isLoopback)

/** Text of a resolv.conf. */
export const formatResolvConf = ({ nameservers, search, options }: Resolver): string =>
  [
    ...nameservers.map(address => `nameserver ${address}`),
    ...(search.length === 0 ? [] : [`search ${search.join(' ')}`]),
    ...(options.length === 0 ? [] : [`options ${options.join(' ')}`]),
    '',
  ].join('\n')

/** A host without the file resolves with its own 127.0.0.1 (resolv.conf(5)), which is what an empty list means. */
export const readHostResolver = async (path = '/etc/resolv.conf'): Promise<Resolver> => {
  try {
    return parseResolvConf(await readFile(path, 'utf8'))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return parseResolvConf('')
    throw error
  }
}
