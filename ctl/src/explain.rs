pub async fn run(_: &crate::servers::Servers, _: &crate::options::Explain) -> Result<u8, crate::servers::Trouble> {
    Ok(0)
}
