FROM debian:12.2-slim
RUN apt-get update && apt-get install -y nodejs node-lodash
ENV NODE_ENV=production
COPY package.json package-lock.json /srv/web/
RUN npm ci --omit=dev
COPY . /srv/web
RUN npm install axios@1.7.4 && rm -rf node_modules/jquery
