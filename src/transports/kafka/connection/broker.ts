import { apiVersionsV3, type Connection } from '@platformatic/kafka'
import { invalid } from '../options.ts'

/** Key, version, name, and since when: what is asked of a broker. */
const needed = [
  [68, 1, 'groups with the protocol of KIP-848'],
  [0, 11, 'Produce'],
  [1, 17, 'Fetch'],
  [8, 9, 'OffsetCommit'],
] as const

/** Throws if this broker cannot serve, however long somebody waits. */
export async function checkBroker(connection: Connection): Promise<string> {
  const { apiKeys, finalizedFeatures = [] } = await apiVersionsV3.api.async(
    connection,
    'mersal',
    '1',
  )
  for (const [key, version, name] of needed) {
    const { maxVersion = -1 } = apiKeys.find(({ apiKey }) => apiKey === key) ?? {}
    if (maxVersion < version)
      throw invalid(
        'bootstrapServers',
        `the broker does not know ${name}: Apache Kafka 4.0 or later is needed`,
      )
  }
  const level = finalizedFeatures.find(({ name }) => name === 'metadata.version')
  return `metadata.version ${level?.maxVersionLevel ?? '?'}`
}
