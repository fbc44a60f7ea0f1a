import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, release, totalmem, type } from 'node:os'
import { peerVersions } from './peers/load.ts'

export function machine(): string {
  const memory = Math.round(totalmem() / 2 ** 30)
  return `${availableParallelism()} × ${cpus()[0]?.model.trim()}, ${memory} GiB, ${type()} ${release()}, Node ${process.version}`
}

/** Mersal, the clients that it works with here, and what it is compared with. */
export function versions(peers: boolean): Record<string, string> {
  const manifest = JSON.parse(
    readFileSync(new URL('../package.json', import.meta.url), 'utf8'),
  ) as {
    readonly version: string
    readonly devDependencies: Readonly<Record<string, string>>
  }
  const { pg = '', mysql2 = '', amqplib = '', ...others } = manifest.devDependencies
  return {
    mersal: manifest.version,
    pg,
    mysql2,
    amqplib,
    '@redis/client': others['@redis/client'] ?? '',
    '@platformatic/kafka': others['@platformatic/kafka'] ?? '',
    ...(peers ? peerVersions() : {}),
  }
}
