import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  AclOperations,
  AclPermissionTypes,
  Admin,
  ResourcePatternTypes,
  ResourceTypes,
} from '@platformatic/kafka'
import type { KafkaOptions } from '../../src/kafka.ts'
import { openPrivateKafka } from '../../scripts/servers/kafka.ts'

type Operation = keyof typeof AclOperations

export interface SecuredKafka extends AsyncDisposable {
  readonly server: string
  /** The certificate of the broker, which has the name `kafka.test`. */
  readonly caFile: string
  /** How this user connects. */
  as(username: string, password?: string): KafkaOptions
  /** Something to look with, and to make topics. */
  readonly admin: Admin
  allow(
    user: string,
    type: 'TOPIC' | 'GROUP',
    prefix: string,
    operations: Operation[],
  ): Promise<void>
}

const NAME = 'kafka.test'

function certificateIn(folder: string): { readonly caFile: string; readonly store: string } {
  const [caFile, key, store] = ['cert.pem', 'key.pem', 'store.pem'].map((one) => join(folder, one))
  const subject = ['-subj', `/CN=${NAME}`, '-addext', `subjectAltName=DNS:${NAME}`]
  const made = ['-nodes', '-newkey', 'rsa:2048', '-days', '2', '-keyout', key, '-out', caFile]
  execFileSync('openssl', ['req', '-x509', ...(made as string[]), ...subject], { stdio: 'ignore' })
  writeFileSync(
    store as string,
    readFileSync(key as string) + readFileSync(caFile as string, 'utf8'),
  )
  return { caFile: caFile as string, store: store as string }
}

/** A private broker with TLS, users with SCRAM-SHA-512 and PLAIN, and access lists. */
export async function openSecuredKafka(
  password: string,
  users: readonly string[],
): Promise<SecuredKafka> {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-kafka-secured-'))
  const { caFile, store } = certificateIn(folder)
  const module = 'org.apache.kafka.common.security'
  const known = ['admin', ...users].map((user) => `user_${user}="${password}"`).join(' ')
  const own = `username="admin" password="${password}"`
  const kafka = await openPrivateKafka({
    protocol: 'SASL_SSL',
    scram: { name: 'admin', password },
    config: [
      'listener.name.clients.ssl.keystore.type=PEM',
      `listener.name.clients.ssl.keystore.location=${store}`,
      'listener.name.clients.ssl.truststore.type=PEM',
      `listener.name.clients.ssl.truststore.location=${caFile}`,
      'sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN',
      'sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512',
      `listener.name.clients.scram-sha-512.sasl.jaas.config=${module}.scram.ScramLoginModule required ${own};`,
      `listener.name.clients.plain.sasl.jaas.config=${module}.plain.PlainLoginModule required ${own} ${known};`,
      'authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer',
      'super.users=User:admin;User:ANONYMOUS',
    ],
  })
  const { server } = kafka
  const tls = { ca: readFileSync(caFile, 'utf8'), servername: NAME }
  const sasl = { mechanism: 'SCRAM-SHA-512', username: 'admin', password } as const
  const admin = new Admin({ clientId: 'admin', bootstrapBrokers: [server], tls, sasl })
  return {
    server,
    caFile,
    as: (username, given = password) => ({
      bootstrapServers: server,
      tls: { caFile, serverName: NAME },
      sasl: {
        mechanism: username === 'admin' ? 'SCRAM-SHA-512' : 'PLAIN',
        username,
        password: given,
      },
      partitions: 2,
      sessionTimeoutMs: 3000,
      logger: false,
    }),
    admin,
    async allow(user, type, prefix, operations) {
      await admin.createAcls({
        creations: operations.map((operation) => ({
          resourceType: ResourceTypes[type],
          resourceName: prefix,
          resourcePatternType: ResourcePatternTypes.PREFIXED,
          principal: `User:${user}`,
          host: '*',
          operation: AclOperations[operation],
          permissionType: AclPermissionTypes.ALLOW,
        })),
      })
    },
    async [Symbol.asyncDispose]() {
      await admin.close()
      await kafka[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true })
    },
  }
}
