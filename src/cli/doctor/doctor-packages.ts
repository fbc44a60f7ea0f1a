import type { Finding } from '../../core/operations.ts'
import { packagesOf, storeAdapters, transportAdapters } from '../adapters.ts'
import { findPackage } from '../config/clients.ts'
import type { Loaded } from '../config/load-config.ts'
import { manifest } from './manifest.ts'
import { atLeast, lowest } from './versions.ts'

/** Versions of Node and of the clients that this configuration needs. */
export function examinePackages({ served }: Loaded, folder: string): readonly Finding[] {
  const { engines, peerDependencies } = manifest()
  const needed = new Set(
    served.flatMap(({ store, transports }) => [
      ...packagesOf(storeAdapters, store.name),
      ...[...transports.values()].flatMap(({ name }) => packagesOf(transportAdapters, name)),
    ]),
  )
  return [
    node(engines.node),
    ...[...needed].map((name) => client(name, peerDependencies[name] ?? '', folder)),
  ]
}

function node(range: string): Finding {
  const text = process.version
  if (atLeast(text, lowest(range))) return { level: 'ok', subject: 'node', text }
  return {
    level: 'fault',
    subject: 'node',
    text: `${text} does not fit ${range}`,
    remedy: 'install a newer Node',
  }
}

function client(name: string, range: string, folder: string): Finding {
  const found = findPackage(name, folder)
  const subject = `package ${name}`
  // Another library, or PGlite, may have brought the connection.
  if (found === undefined)
    return {
      level: 'warning',
      subject,
      text: 'is not installed here',
      remedy: `npm install ${name}@${range.replace('^', '')}, unless another client is used`,
    }
  const least = lowest(range)
  const fits =
    atLeast(found.version, least) && Number.parseFloat(found.version) < (least[0] ?? 0) + 1
  if (fits) return { level: 'ok', subject, text: found.version }
  return {
    level: 'fault',
    subject,
    text: `${found.version} does not fit ${range}`,
    remedy: `npm install ${name}@${range}`,
  }
}
