/** Everything in a namespace that portctl could have left behind, in a form that compares. */
import type { Lab, Where } from '../lab/lab.ts'

export interface Fingerprint {
  readonly links: readonly string[]
  readonly addresses: readonly string[]
  readonly routes: readonly string[]
  readonly rules: readonly string[]
  readonly listeners: readonly string[]
  readonly forwarding: readonly string[]
}

const lines = (text: string): readonly string[] =>
  text
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '')
    .sort()

export const fingerprint = async (lab: Lab, where: Where): Promise<Fingerprint> => {
  const sh = (command: string) => lab.sh(where, 'sh', '-c', command).then(lines)
  const [links, addresses, routes, rules, listeners, forwarding] = await Promise.all([
    sh("ip -br link | awk '{print $1, $3}'"),
    // Link-local addresses come a moment after the link.
    sh("ip -o addr show scope global | awk '{print $2, $4}'"),
    // Without what changes with the carrier.
    sh("{ ip route; ip -6 route | grep -v fe80; } | sed 's/ pref .*//; s/ expires .*//; s/ linkdown//'"),
    sh("nft list ruleset | sed 's/counter packets [0-9]* bytes [0-9]*/counter/'"),
    sh("ss -Hltunp | awk '{print $1, $2, $5}'"),
    sh('grep . /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv6/conf/*/*forwarding'),
  ])
  return { links, addresses, routes, rules, listeners, forwarding }
}
