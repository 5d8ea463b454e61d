// The reference tus server with its file store: node tus-server.mjs PORT DIRECTORY
import { createServer } from 'node:http'
import { Server } from '@tus/server'
import { FileStore } from '@tus/file-store'

const [port, directory] = process.argv.slice(2)
const tus = new Server({ path: '/files', datastore: new FileStore({ directory }) })
createServer(tus.handle.bind(tus)).listen(Number(port), '127.0.0.1')
