import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { keepFirst } from '../../scripts/keep-first.ts'

export const DEBEZIUM = '3.6.1.Final'
const AMQP_CLIENT = '5.37.1'
const LONGEST_FETCH_MS = 400_000

/** Once fetched, for every checkout on this machine. */
const folder = join(homedir(), '.cache', 'mersal', `debezium-${DEBEZIUM}`)

const dependency = (group: string, artifact: string, version: string): string =>
  `<dependency><groupId>${group}</groupId><artifactId>${artifact}</artifactId><version>${version}</version></dependency>`

const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies>${['debezium-api', 'debezium-embedded', 'debezium-connector-postgres']
  .map((artifact) => dependency('io.debezium', artifact, DEBEZIUM))
  .join('')}${dependency('com.rabbitmq', 'amqp-client', AMQP_CLIENT)}</dependencies>
</project>`

/** Whether Debezium can be run here. */
export function debeziumIsHere(): boolean {
  const runs = (program: string): boolean =>
    spawnSync(program, ['-version'], { stdio: 'ignore' }).error === undefined
  return runs('java') && (existsSync(folder) || runs('mvn'))
}

/** Fetches Debezium and compiles the relay, once. Answers the class path. */
export async function debeziumClasses(): Promise<string> {
  if (!existsSync(folder)) await fetchAll()
  return `${folder}/*:${folder}`
}

async function fetchAll(): Promise<void> {
  const cache = join(homedir(), '.cache', 'mersal')
  mkdirSync(cache, { recursive: true })
  const work = mkdtempSync(join(cache, 'fetching-'))
  try {
    writeFileSync(join(work, 'pom.xml'), pom)
    const target = join(work, 'jars')
    await done(work, 'mvn', [
      '-q',
      '-B',
      'dependency:copy-dependencies',
      `-DoutputDirectory=${target}`,
    ])
    const source = fileURLToPath(new URL('Relay.java', import.meta.url))
    await done(work, 'javac', ['-cp', `${target}/*`, '-d', target, source])
    keepFirst(target, folder)
  } finally {
    rmSync(work, { recursive: true, force: true })
  }
}

async function done(cwd: string, program: string, args: readonly string[]): Promise<void> {
  const child = spawn(program, args, { cwd, stdio: 'ignore', timeout: LONGEST_FETCH_MS })
  await once(child, 'exit')
  if (child.exitCode !== 0)
    throw new Error(`${program} failed while Debezium ${DEBEZIUM} was fetched`)
}
