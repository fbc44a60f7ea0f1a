import { spawn, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { keepFirst } from '../keep-first.ts'
import { freePort } from './postgres.ts'
import { type ServerProgram, startServer } from './program.ts'

const VERSION = '4.4.0'
const LONGEST_START_MS = 90_000
const LONGEST_FETCH_MS = 400_000
/** Once fetched, for every checkout on this machine. */
const jars = join(homedir(), '.cache', 'mersal', `kafka-${VERSION}`)
const isFetched = (): boolean => existsSync(join(jars, `kafka_2.13-${VERSION}.jar`))

function runs(program: string): boolean {
  return spawnSync(program, ['-version'], { stdio: 'ignore' }).error === undefined
}

/** What keeps a private Kafka broker from running on this machine, or undefined. */
export function kafkaProblem(): string | undefined {
  if (!runs('java')) return 'no java in PATH: apt-get install openjdk-17-jre-headless'
  if (!isFetched() && !runs('mvn'))
    return `no Kafka in ${jars}, and no mvn in PATH that would fetch it: apt-get install maven`
  return undefined
}

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies><dependency><groupId>org.apache.kafka</groupId>
<artifactId>kafka_2.13</artifactId><version>${VERSION}</version></dependency></dependencies>
</project>`

/** Fetches Apache Kafka with what it needs from Maven Central, unless it is here. */
async function fetched(): Promise<string> {
  if (isFetched()) return jars
  mkdirSync(join(homedir(), '.cache', 'mersal'), { recursive: true })
  const folder = mkdtempSync(join(homedir(), '.cache', 'mersal', 'fetching-'))
  try {
    writeFileSync(join(folder, 'pom.xml'), pom)
    const target = join(folder, 'jars')
    const goal = ['-q', '-B', 'dependency:copy-dependencies', `-DoutputDirectory=${target}`]
    const child = spawn('mvn', goal, { cwd: folder, stdio: 'ignore', timeout: LONGEST_FETCH_MS })
    await once(child, 'exit')
    if (child.exitCode !== 0) throw new Error(`mvn cannot fetch Apache Kafka ${VERSION}`)
    keepFirst(target, jars)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  return jars
}

/** A whole broker of its own, that may be killed, stopped, cut off and started again. */
export interface PrivateKafka extends ServerProgram {
  /** `host:port` */
  readonly server: string
  /** The same, for whoever goes past `advertised`; empty unless asked for. */
  readonly inside: string
  readonly port: number
  readonly version: string
}

export interface KafkaServerOptions {
  /** Further lines of the configuration file; they come last, so they count. */
  readonly config?: readonly string[]
  /** Default: one that is free. */
  readonly port?: number
  /** Where clients are told to connect. Default: where the broker listens. */
  readonly advertised?: number
  /** It also listens for plain clients that go past `advertised`. Default false. */
  readonly hasInside?: boolean
  /** `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`. Default `PLAINTEXT`. */
  readonly protocol?: string
  /** Credentials for SCRAM that exist from the beginning. */
  readonly scram?: { readonly name: string; readonly password: string }
}

async function answers(port: number): Promise<boolean> {
  const socket = connect({ host: '127.0.0.1', port })
  try {
    await once(socket, 'connect', { signal: AbortSignal.timeout(1000) })
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

interface Ports {
  readonly clients: number
  readonly controller: number
  /** 0: none. */
  readonly inside: number
}

function configOf(
  folder: string,
  { clients, controller, inside }: Ports,
  { config = [], advertised = clients, protocol = 'PLAINTEXT' }: KafkaServerOptions,
): string {
  const own = inside === 0 ? '' : `,INSIDE://127.0.0.1:${inside}`
  return [
    'process.roles=broker,controller',
    'node.id=1',
    `controller.quorum.voters=1@127.0.0.1:${controller}`,
    'controller.listener.names=CONTROLLER',
    `listeners=CLIENTS://127.0.0.1:${clients},CONTROLLER://127.0.0.1:${controller}${own}`,
    `advertised.listeners=CLIENTS://127.0.0.1:${advertised}${own}`,
    `listener.security.protocol.map=CONTROLLER:PLAINTEXT,INSIDE:PLAINTEXT,CLIENTS:${protocol}`,
    'inter.broker.listener.name=CLIENTS',
    `log.dirs=${join(folder, 'data')}`,
    'auto.create.topics.enable=false',
    'offsets.topic.replication.factor=1',
    'offsets.topic.num.partitions=2',
    'transaction.state.log.replication.factor=1',
    'transaction.state.log.min.isr=1',
    'share.coordinator.state.topic.replication.factor=1',
    'group.consumer.min.session.timeout.ms=500',
    'group.consumer.min.heartbeat.interval.ms=50',
    'num.network.threads=2',
    'num.io.threads=4',
    'background.threads=2',
    'log.cleaner.dedupe.buffer.size=8388608',
    ...config,
  ].join('\n')
}

export async function openPrivateKafka(options: KafkaServerOptions = {}): Promise<PrivateKafka> {
  const problem = kafkaProblem()
  if (problem !== undefined) throw new Error(problem)
  const classes = `${await fetched()}/*`
  const folder = mkdtempSync(join(tmpdir(), 'mersal-kafka-'))
  const port = options.port ?? (await freePort())
  const controller = await freePort()
  const inside = options.hasInside === true ? await freePort() : 0
  const file = join(folder, 'server.properties')
  writeFileSync(file, `${configOf(folder, { clients: port, controller, inside }, options)}\n`)
  const java = [
    '-Xmx256m',
    '-Xms64m',
    '-XX:+UseSerialGC',
    '-XX:TieredStopAtLevel=1',
    '-cp',
    classes,
  ]
  const prepare = async (): Promise<void> => {
    const { scram } = options
    const users =
      scram === undefined
        ? []
        : ['--add-scram', `SCRAM-SHA-512=[name=${scram.name},password=${scram.password}]`]
    // Behind a dash the tool would take it for an option.
    const id = `M${randomBytes(16).toString('base64url').slice(1)}`
    const tool = ['kafka.tools.StorageTool', 'format', '-t', id, '-c', file, ...users]
    const child = spawn('java', [...java, ...tool], { stdio: ['ignore', 'ignore', 'pipe'] })
    const said: string[] = []
    child.stderr.setEncoding('utf8').on('data', (text: string) => void said.push(text))
    await once(child, 'close')
    if (child.exitCode !== 0)
      throw new Error(`the storage of a private Kafka cannot be made: ${said.join('').trim()}`)
  }
  const server = await startServer({
    name: 'Kafka',
    program: 'java',
    args: [...java, 'kafka.Kafka', file],
    folder,
    answers: () => answers(port),
    longestStartMs: LONGEST_START_MS,
    prepare,
  })
  const at = (number: number): string => `127.0.0.1:${number}`
  return {
    ...server,
    server: at(port),
    inside: inside === 0 ? '' : at(inside),
    port,
    version: VERSION,
  }
}
