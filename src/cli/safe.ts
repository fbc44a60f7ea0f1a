/** Control characters, the invisible ones that reorder or join text, line separators, lone surrogates. */
const UNSAFE = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu

function escaped(char: string): string {
  return char === '\t' ? ' ' : `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`
}

/** One line that a terminal shows as it is: nothing in it moves the cursor, changes colours or begins a new line. */
export function oneLine(text: string): string {
  return text.replace(UNSAFE, escaped)
}

/** JSON with every character of these kinds escaped; it parses to the same value. */
export function safeJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, (_, item: unknown) => (typeof item === 'bigint' ? item.toString() : item), indent)
  return text.replace(UNSAFE, (char) => {
    if (char === '\n') return char // only between values; inside of texts JSON has escaped it
    return char
      .split('')
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
      .join('')
  })
}

/** Shorter than this, a secret would hide half of the output. */
const SHORTEST = 4

/** What follows `scheme://` up to the last `@`: user and password, however badly they are encoded. */
function userInfo(url: string): string | undefined {
  const start = url.indexOf('://')
  const end = url.lastIndexOf('@')
  return start > 0 && end > start + 3 ? url.slice(start + 3, end) : undefined
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

const SECRET_NAME = /PASS|SECRET|TOKEN|CREDENTIAL|PRIVATE/i

/** The secrets in one value of the environment, or in a URL. */
export function secretsIn(value: string, name = ''): string[] {
  const found: string[] = []
  const info = userInfo(value)
  if (info !== undefined) {
    const password = info.includes(':') ? info.slice(info.indexOf(':') + 1) : ''
    found.push(password, decoded(password))
  }
  const query = /[?&](?:password|sslpassword)=([^&#\s]+)/i.exec(value)?.[1]
  if (query !== undefined) found.push(query, decoded(query))
  if (SECRET_NAME.test(name)) found.push(value)
  return found.filter((secret) => secret.length >= SHORTEST)
}

/** Hides the user info of every URL, and every secret in each form in which it may be repeated. */
export function redactor(secrets: ReadonlySet<string>): (text: string) => string {
  return (text) => {
    let hidden = text.replace(/:\/\/[^\s/"'<>]*@/g, '://***@').replace(/([?&](?:ssl)?password=)[^&\s"']+/gi, '$1***')
    const forms = [...secrets].flatMap((secret) => [
      secret,
      encodeURIComponent(secret.toWellFormed()),
      JSON.stringify(secret).slice(1, -1),
      Buffer.from(secret).toString('base64'),
    ])
    // The longest first, so that no part of one is left when another is a piece of it.
    for (const form of forms.sort((a, b) => b.length - a.length)) hidden = hidden.replaceAll(form, '***')
    return hidden
  }
}
