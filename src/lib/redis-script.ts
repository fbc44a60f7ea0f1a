import { createHash } from 'node:crypto'

/** A Lua script for Redis. It gets one key, the prefix of all keys, and arguments. */
export interface Script {
  readonly text: string
}

export type Argument = string | number | Uint8Array

/** As the client wants it. The bytes are not copied. */
export function encoded(argument: Argument): string | Buffer {
  return argument instanceof Uint8Array
    ? Buffer.from(argument.buffer, argument.byteOffset, argument.byteLength)
    : String(argument)
}

const digests = new Map<Script, string>()

function digestOf(script: Script): string {
  let digest = digests.get(script)
  if (digest === undefined) {
    digest = createHash('sha1').update(script.text).digest('hex')
    digests.set(script, digest)
  }
  return digest
}

/** Runs a script by its digest; a server that does not know it gets its text. */
export async function runScript(
  send: (args: readonly Argument[]) => Promise<unknown>,
  script: Script,
  prefix: string,
  args: readonly Argument[],
): Promise<unknown> {
  try {
    return await send(['EVALSHA', digestOf(script), 1, prefix, ...args])
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
    return send(['EVAL', script.text, 1, prefix, ...args])
  }
}

/** Begins every key of one name. The braces make all keys of it one slot. */
export const prefixOf = (name: string): string => `{${name}}:`

/** Whether keys may begin with this. */
export function isPrefix(name: unknown): name is string {
  return typeof name === 'string' && /^[A-Za-z0-9_.:-]{1,64}$/.test(name)
}

export const prefixRule = "expected 1 to 64 letters, digits, '_', '.', ':' or '-'"
