import { X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { isIP } from 'node:net'
import { createSecureContext } from 'node:tls'
import { toError } from '../../../lib/async/abort.ts'
import { invalid, type KafkaTls } from '../options.ts'

type Part = 'ca' | 'cert' | 'key'

interface Read {
  readonly field: `tls.${keyof KafkaTls}`
  readonly text: string
}

/** No text of the option: somebody may have put the key itself there. */
function partOf(given: KafkaTls, part: Part): Read | undefined {
  const file = given[`${part}File`]
  const text = given[part]
  if (file === undefined) return text === undefined ? undefined : { field: `tls.${part}`, text }
  const field = `tls.${part}File` as const
  try {
    return { field, text: readFileSync(file, 'utf8') }
  } catch (error) {
    const { code = 'unknown error' } = error as { readonly code?: string }
    throw invalid(field, `cannot be read (${code}): give the path of a file in PEM`)
  }
}

function checkCertificate(part: Read | undefined): void {
  if (part === undefined) return
  try {
    void new X509Certificate(part.text)
  } catch {
    throw invalid(part.field, 'holds no certificate in PEM')
  }
}

function checkPair(cert: Read | undefined, key: Read | undefined): void {
  if (cert === undefined && key === undefined) return
  if (cert === undefined) throw invalid('tls.cert', 'is needed beside the key')
  if (key === undefined) throw invalid('tls.key', 'is needed beside the certificate')
  try {
    createSecureContext({ cert: cert.text, key: key.text })
  } catch (error) {
    const { code = toError(error).name } = error as { readonly code?: string }
    throw invalid(key.field, `is no key in PEM that belongs to the certificate (${code})`)
  }
}

/**
 * As the sockets of Node take it; files are read at each connection, since certificates are renewed.
 * Throws `MERSAL_INVALID_OPTIONS` for a file or a text that does not fit.
 */
export function tlsOf(given: KafkaTls | undefined): object | undefined {
  if (given === undefined) return undefined
  const [ca, cert, key] = [partOf(given, 'ca'), partOf(given, 'cert'), partOf(given, 'key')]
  checkCertificate(ca)
  checkCertificate(cert)
  checkPair(cert, key)
  const parts = { ca: ca?.text, cert: cert?.text, key: key?.text }
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined))
}

/**
 * The name that a broker is asked for and that its certificate must have: clusters behind one
 * address tell their brokers apart by it. An address of numbers is no name.
 */
export function serverNameOf(given: KafkaTls | undefined, host: string): string | undefined {
  return given?.serverName ?? (isIP(host) === 0 ? host : undefined)
}
