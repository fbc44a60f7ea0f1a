import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** An authority of one's own, and the certificate of a server that it has signed. */
export interface Authority extends Disposable {
  /** The certificate of the authority, as text and as a file. */
  readonly ca: string
  readonly caFile: string
  /** Files of a server at 127.0.0.1 and `localhost`. */
  readonly cert: string
  readonly key: string
}

const openssl = (args: readonly string[]): void =>
  void execFileSync('openssl', args, { stdio: 'ignore' })

export interface AuthorityOptions {
  /** Names in the certificate of the server. Default 127.0.0.1 and `localhost`. */
  readonly names?: string
  /** The user of the server, who alone may read its key. Default this one. */
  readonly user?: string
}

export function authority({
  names = 'IP:127.0.0.1,DNS:localhost',
  user,
}: AuthorityOptions = {}): Authority {
  const folder = mkdtempSync(join(tmpdir(), 'mersal-authority-'))
  const file = (name: string): string => join(folder, name)
  const fresh = ['-nodes', '-newkey', 'rsa:2048', '-keyout']
  const [caKey, caFile, request, key, cert] = ['ca.key', 'ca.pem', 'request', 'key', 'cert'].map(
    file,
  ) as [string, string, string, string, string]
  const name = ['-subj', '/CN=An authority of ours']
  openssl(['req', '-x509', '-days', '2', ...fresh, caKey, '-out', caFile, ...name])
  openssl(['req', ...fresh, key, '-out', request, '-subj', '/CN=a server'])
  writeFileSync(file('names'), `subjectAltName=${names}\n`)
  const by = ['-CA', caFile, '-CAkey', caKey, '-CAcreateserial', '-extfile', file('names')]
  openssl(['x509', '-req', '-in', request, ...by, '-days', '2', '-out', cert])
  chmodSync(folder, 0o755)
  chmodSync(key, 0o600)
  if (user !== undefined && process.getuid?.() === 0) {
    const id = (which: string): number =>
      Number(execFileSync('id', [which, user], { encoding: 'utf8' }))
    chownSync(key, id('-u'), id('-g'))
  }
  return {
    ca: readFileSync(caFile, 'utf8'),
    caFile,
    cert,
    key,
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  }
}
